//go:build linux

package kerneltest

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/kerneltest/job"
)

var (
	machineDisksMutex sync.Mutex
	machineDisksTaken = make(map[string]bool)
)

// MachineDisk returns the name of a whole disk of the virtual machine, of several GiB, that reads as zeros. It is the test's
// own until its end. There are few of them (make kernel-test has four); the test fails if none is left.
func MachineDisk(t testing.TB) string {
	t.Helper()
	requireGuest(t)
	device, err := takeMachineDisk()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		machineDisksMutex.Lock()
		defer machineDisksMutex.Unlock()
		delete(machineDisksTaken, device)
	})
	if err := discardAll(device); err != nil {
		t.Fatal(err)
	}
	return device
}

func takeMachineDisk() (string, error) {
	machineDisksMutex.Lock()
	defer machineDisksMutex.Unlock()
	disks := strings.FieldsFunc(os.Getenv(job.DisksVariable), func(r rune) bool { return r == ',' })
	for _, disk := range disks {
		if !machineDisksTaken[disk] {
			machineDisksTaken[disk] = true
			return disk, nil
		}
	}
	return "", fmt.Errorf("all %d disks of the machine are in use", len(disks))
}

// discardAll punches a hole into the host's file behind the disk, as long as the disk. Holes read as zeros.
func discardAll(device string) error {
	// Exclusively, so that a disk that somebody mounted or mapped is not wiped below them.
	file, err := os.OpenFile(device, os.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	extent := [2]uint64{0, uint64(size)} // offset and length in bytes
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), unix.BLKDISCARD, uintptr(unsafe.Pointer(&extent))); errno != 0 {
		return fmt.Errorf("discard %s: %w", device, errno)
	}
	return nil
}
