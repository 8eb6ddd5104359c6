//go:build linux

package kerneltest

import (
	"os"
	"path/filepath"
	"testing"
)

// sectorSize is the unit that sizes of block devices are multiples of, in bytes.
const sectorSize = 512

// Option changes what Disk gives.
type Option func(*diskOptions)

type diskOptions struct{ blockSize uint32 }

// BlockSize gives the disk a logical block size in bytes: a power of two from 512 to 4096. The default is 512.
func BlockSize(bytes uint32) Option { return func(o *diskOptions) { o.blockSize = bytes } }

// Disk returns the name of a new block device of size bytes (a multiple of 512) that reads as zeros. It is a loop device on
// a sparse file in the guest's memory: it passes discards down, and what is written to it costs memory. It goes at the end
// of the test; close and deactivate what uses it before.
func Disk(t testing.TB, size int64, options ...Option) string {
	t.Helper()
	scratch := Scratch(t)
	if size <= 0 || size%sectorSize != 0 {
		t.Fatalf("disk of %d bytes: size must be positive and a multiple of %d", size, sectorSize)
	}
	var chosen diskOptions
	for _, option := range options {
		option(&chosen)
	}
	directory, err := os.MkdirTemp(scratch, "disk-")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(directory, "file")
	t.Cleanup(func() {
		if err := os.RemoveAll(directory); err != nil {
			t.Errorf("remove disk: %v", err)
		}
	})
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	device, err := attachLoop(path, chosen.blockSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := detachLoop(device); err != nil {
			t.Error(err)
		}
	})
	return device
}
