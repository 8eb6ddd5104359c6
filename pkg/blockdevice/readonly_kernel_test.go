//go:build kernel

package blockdevice_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestReadOnly: writes are refused, also through a file that was open before, and taken again afterwards.
func TestReadOnly(t *testing.T) {
	kerneltest.CheckClean(t)
	disk := kerneltest.Disk(t, 64<<20)
	reader, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	before, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	for _, readOnly := range []bool{true, true, false} {
		if err := blockdevice.SetReadOnly(reader, readOnly); err != nil {
			t.Fatal(err)
		}
		if got, err := blockdevice.ReadOnly(reader); got != readOnly || err != nil {
			t.Errorf("read-only is %t (%v), want %t", got, err, readOnly)
		}
		_, err := before.WriteAt([]byte("x"), 0)
		if readOnly != errors.Is(err, unix.EPERM) || !readOnly && err != nil {
			t.Errorf("read-only %t: a write through an older file: %v", readOnly, err)
		}
		if err := writeAnew(disk); readOnly != (err != nil) {
			t.Errorf("read-only %t: a write through a new file: %v", readOnly, err)
		}
		if err := blockdevice.Discard(before, 0, 1<<20); readOnly != (err != nil) && !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("read-only %t: a discard: %v", readOnly, err)
		}
	}
	if number, err := blockdevice.NumberOf(reader); err != nil || number == (blockdevice.Number{}) {
		t.Errorf("number %v, %v", number, err)
	}
	plain, err := os.Open(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := blockdevice.NumberOf(plain); !errors.Is(err, blockdevice.ErrNotBlockDevice) {
		t.Errorf("a directory: %v", err)
	}
}

func writeAnew(disk string) error {
	file, err := os.OpenFile(disk, os.O_WRONLY|unix.O_DSYNC, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt([]byte("y"), 4096)
	return errors.Join(err, file.Close())
}
