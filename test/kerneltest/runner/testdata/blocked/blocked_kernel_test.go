//go:build kernel

package blocked

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// TestBlocked waits in the kernel for a suspended device, where no signal and no timeout of the test binary reaches it.
func TestBlocked(t *testing.T) {
	for _, arguments := range [][]string{
		{"create", "blocked", "--table", "0 8 zero"},
		{"suspend", "blocked"},
		{"mknodes"},
	} {
		if output, err := exec.Command("dmsetup", arguments...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", arguments, err, output)
		}
	}
	device, err := os.OpenFile("/dev/mapper/blocked", os.O_WRONLY|syscall.O_SYNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = device.Write(make([]byte, 4096))
	t.Fatalf("the write ended: %v", err)
}
