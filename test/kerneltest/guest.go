//go:build linux

package kerneltest

import (
	"os"
	"testing"

	"github.com/csi-dm/csi-dm/test/kerneltest/job"
)

// Scratch returns a directory on a tmpfs of the guest that ends with the guest; files for loop devices belong there. It
// ends the test with a failure if it does not run inside a guest.
func Scratch(t testing.TB) string {
	t.Helper()
	requireGuest(t)
	return os.Getenv(job.ScratchVariable)
}

func requireGuest(t testing.TB) {
	t.Helper()
	if os.Getenv(job.ScratchVariable) == "" {
		t.Fatalf("a kernel test runs inside a guest only, since it overwrites disks: use make kernel-test")
	}
}
