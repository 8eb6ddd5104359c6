//go:build kernel

package blockdevice_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

func TestStatAndOpen(t *testing.T) {
	kerneltest.CheckClean(t)
	for _, logical := range []uint32{512, 4096} {
		disk := kerneltest.Disk(t, 64<<20, kerneltest.BlockSize(logical))
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(disk, link); err != nil {
			t.Fatal(err)
		}
		d, err := blockdevice.Stat(link)
		if err != nil || d.Path != link || d.Node != disk || d.Size != 64<<20 || d.LogicalBlockSize != int(logical) || d.Number == (blockdevice.Number{}) {
			t.Errorf("%+v, %v", d, err)
		}
		file, _, err := blockdevice.Open(link)
		if err != nil {
			t.Fatal(err)
		}
		if other, _, err := blockdevice.Open(disk); !errors.Is(err, blockdevice.ErrInUse) {
			t.Errorf("a second exclusive open: %v", err)
			_ = other.Close()
		}
		if _, err := blockdevice.Stat(disk); err != nil {
			t.Errorf("stat of a device in use: %v", err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
	for path, want := range map[string]error{
		"/dev/nonexistent": blockdevice.ErrNotExist, "/dev/null": blockdevice.ErrNotBlockDevice, "/": blockdevice.ErrNotBlockDevice, "loop0": blockdevice.ErrNotBlockDevice,
	} {
		if _, err := blockdevice.Stat(path); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
	}
}

func TestByNumber(t *testing.T) {
	kerneltest.CheckClean(t)
	disk := kerneltest.Disk(t, 64<<20)
	described, err := blockdevice.Stat(disk)
	if err != nil {
		t.Fatal(err)
	}
	found, err := blockdevice.ByNumber(described.Number)
	if err != nil || found.Node != disk || found.Number != described.Number || found.Size != 64<<20 {
		t.Errorf("%+v, %v", found, err)
	}
	for _, nowhere := range []blockdevice.Number{{}, {Major: described.Number.Major, Minor: 4000}, {Major: 4095, Minor: 1}} {
		if found, err := blockdevice.ByNumber(nowhere); !errors.Is(err, blockdevice.ErrNotExist) {
			t.Errorf("%v: %+v, %v", nowhere, found, err)
		}
	}
}

func TestAttachLoop(t *testing.T) {
	kerneltest.CheckClean(t)
	path := filepath.Join(kerneltest.Scratch(t), "loop file")
	if _, _, err := blockdevice.AttachLoop(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a missing file: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	if err := os.Truncate(path, 16<<20); err != nil {
		t.Fatal(err)
	}
	first, description, err := blockdevice.AttachLoop(path)
	if err != nil || description.Size != 16<<20 {
		t.Fatalf("%+v, %v", description, err)
	}
	// The same file by another name is the same device.
	other := path + " again"
	if err := os.Link(path, other); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(other)
	second, again, err := blockdevice.AttachLoop(other)
	if err != nil || again.Number != description.Number {
		t.Errorf("second: %+v, %v; first: %+v", again, err, description)
	}
	if _, err := first.WriteAt([]byte("x"), 4096); err != nil {
		t.Error(err)
	}
	if err := errors.Join(first.Sync(), first.Close(), second.Close()); err != nil {
		t.Error(err)
	}
	content, err := os.ReadFile(path)
	if err != nil || content[4096] != 'x' {
		t.Errorf("the write did not reach the file: %v", err)
	}
	// Nobody has it open any more, so it is gone.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat("/sys/block/" + filepath.Base(description.Node) + "/loop/backing_file"); errors.Is(err, os.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the loop device is still attached")
		}
	}
}
