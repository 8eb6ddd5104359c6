package agent

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// raised is a volume of 1 GiB that is to have 2 GiB.
func raised(v *v1alpha1.ThinVolume) {
	made(v)
	v.Status.Size = bytes(1 << 30)
	v.Generation = 2
	v.Spec.Capacity = resource.MustParse("2Gi")
}

func newGrowth(t *testing.T) *harness {
	t.Helper()
	h := newHarness(t, readyPool(nil), volumeObject("v", raised))
	h.openPool()
	h.pool.created["v"] = thinpool.Volume{Name: "v", ThinID: 5, Size: 1 << 30}
	return h
}

func TestVolumeGrowsInOneWrite(t *testing.T) {
	h := newGrowth(t)
	for range 3 {
		if _, err := h.reconcileVolume("v"); err != nil {
			t.Fatal(err)
		}
	}
	status := h.volume("v").Status
	if status.Size.Value() != 2<<30 || status.ObservedGeneration != 2 || len(status.Conditions) != 1 {
		t.Errorf("status is %+v", status)
	}
	if h.statusWrites != 1 || h.writes != 0 || h.pool.grows != 1 || h.pool.creates != 0 {
		t.Errorf("%d status writes, %d writes, %d times grown", h.statusWrites, h.writes, h.pool.grows)
	}
}

// A volume whose growth fails is as ready as it was: it must not count as one that its node will never make.
func TestGrowthThatFails(t *testing.T) {
	for _, test := range []struct {
		err    error
		reason string
		again  bool
	}{
		{thinpool.ErrNoSpace, "NoSpace", false},
		{thinpool.ErrRegistryFull, "NoSpace", false},
		{thinpool.ErrPoolFailed, "PoolFailed", true},
		{unix.EIO, "Failed", true},
	} {
		t.Run(test.reason+" "+test.err.Error(), func(t *testing.T) {
			h := newGrowth(t)
			h.pool.growErr = test.err
			for range 2 {
				if _, err := h.reconcileVolume("v"); (err != nil) != test.again {
					t.Errorf("got %v", err)
				}
			}
			status := h.volume("v").Status
			failed := condition(t, status.Conditions, "ExpansionFailed")
			if failed.Status != "True" || failed.Reason != test.reason || failed.ObservedGeneration != 2 || !contains(failed.Message, test.err.Error()) {
				t.Errorf("condition is %+v", failed)
			}
			if !meta.IsStatusConditionTrue(status.Conditions, "Ready") || status.Size.Value() != 1<<30 || h.statusWrites != 1 {
				t.Errorf("status is %+v after %d writes", status, h.statusWrites)
			}
			h.pool.growErr = nil
			if _, err := h.reconcileVolume("v"); err != nil {
				t.Fatal(err)
			}
			if status := h.volume("v").Status; status.Size.Value() != 2<<30 || meta.FindStatusCondition(status.Conditions, "ExpansionFailed") != nil {
				t.Errorf("later: %+v", status)
			}
		})
	}
}

// What stops the agent is no verdict, and what its pool's registry has already is not asked for again as less.
func TestGrowthThatIsInterrupted(t *testing.T) {
	h := newGrowth(t)
	h.pool.growErr = context.Canceled
	if _, err := h.reconcileVolume("v"); err == nil || h.statusWrites != 0 {
		t.Errorf("%v after %d writes", err, h.statusWrites)
	}
	h.pool.growErr = nil
	h.pool.created["v"] = thinpool.Volume{Name: "v", ThinID: 5, Size: 3 << 30}
	if _, err := h.reconcileVolume("v"); err != nil || h.pool.created["v"].Size != 3<<30 || h.volume("v").Status.Size.Value() != 3<<30 {
		t.Errorf("%v, size %s", err, h.volume("v").Status.Size)
	}
}

// A volume that was to grow while its pool was not open is taken up when it is, although it is ready.
func TestGrowthWaitsForThePool(t *testing.T) {
	pool := readyPool(nil)
	h := newHarness(t, pool, volumeObject("v", raised), volumeObject("has-its-size", func(v *v1alpha1.ThinVolume) { made(v); v.Status.Size = bytes(1 << 30) }))
	if _, err := h.reconcileVolume("v"); err != nil || h.statusWrites != 0 {
		t.Errorf("%v after %d writes", err, h.statusWrites)
	}
	waiting := h.volumes.waitingFor(context.Background(), pool)
	if len(waiting) != 1 || waiting[0].Name != "v" {
		t.Errorf("waiting are %v", waiting)
	}
}
