//go:build kernel

package agent

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestUsageOnKernel: what is written to a volume's device comes to stand in its object, and its base's blocks apart from that.
func TestUsageOnKernel(t *testing.T) {
	kerneltest.CheckClean(t)
	h := realHarness(t, poolObject(onDisk(kerneltest.Disk(t, 2<<30))), volumeObject("v", small("ext4")))
	h.pass("v")
	reporter := usageReporter{client: h.cluster, pools: h.set}
	held := func() (allocated, exclusive int64) {
		t.Helper()
		writes := h.statusWrites
		if err := reporter.report(t.Context(), "fast"); err != nil {
			t.Fatal(err)
		}
		status := h.volume("v").Status
		if status.Allocated == nil || status.Exclusive == nil || h.statusWrites != writes+1 {
			t.Fatalf("%d writes, status is %+v", h.statusWrites-writes, status)
		}
		return status.Allocated.Value(), status.Exclusive.Value()
	}
	base, exclusive := held()
	if base == 0 || exclusive != 0 {
		t.Errorf("a volume that was never written to holds %d bytes, %d of them alone", base, exclusive)
	}
	pool, err := h.set.Get("fast")
	if err != nil {
		t.Fatal(err)
	}
	device, err := pool.Activate(t.Context(), "v")
	if err != nil {
		t.Fatal(err)
	}
	// A part of the device where a fresh file system has nothing.
	file, err := os.OpenFile(device, os.O_WRONLY|unix.O_SYNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt(make([]byte, 5<<20), 400<<20)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	if err := pool.Deactivate(t.Context(), "v"); err != nil {
		t.Fatal(err)
	}
	if allocated, exclusive := held(); allocated != base+(5<<20) || exclusive != 5<<20 {
		t.Errorf("of 5 MiB written %d bytes and %d bytes alone are known, the base had %d", allocated, exclusive, base)
	}
	h.delete(h.volume("v"))
	h.delete(h.cluster.pool(testPool))
	h.pass("v")
	h.pass()
}
