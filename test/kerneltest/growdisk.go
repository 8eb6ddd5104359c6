//go:build linux

package kerneltest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// GrowDisk makes a disk that Disk gave larger, to size bytes, as a machine's disk can become while it is in use. What is
// added reads as zeros.
func GrowDisk(t testing.TB, device string, size int64) {
	t.Helper()
	backing, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(device), "loop/backing_file"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(strings.TrimSpace(string(backing)), size); err != nil {
		t.Fatal(err)
	}
	loop, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close()
	if err := unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		t.Fatalf("grow %s to %d bytes: %v", device, size, err)
	}
}
