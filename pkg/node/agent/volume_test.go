package agent

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

func volumeObject(name string, change func(*v1alpha1.ThinVolume)) *v1alpha1.ThinVolume {
	object := &v1alpha1.ThinVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1, Finalizers: []string{v1alpha1.VolumeFinalizer}},
		Spec:       v1alpha1.ThinVolumeSpec{NodeName: testNode, PoolName: "fast", Capacity: resource.MustParse("1Gi"), FSType: "ext4"},
	}
	if change != nil {
		change(object)
	}
	return object
}

// made is a volume that was made before, with thin id 5.
func made(v *v1alpha1.ThinVolume) {
	v.Status.PoolID, v.Status.ThinID = testID, ptr.To(int64(5))
	v.Status.ObservedGeneration = 1
	v.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "True", Reason: "Ready", ObservedGeneration: 1,
		Message: "The thin device exists and holds its file system."}}
}

func TestVolumeIsMadeInOneWrite(t *testing.T) {
	h := newHarness(t, readyPool(nil), volumeObject("v", nil))
	h.openPool()
	for range 3 {
		if _, err := h.reconcileVolume("v"); err != nil {
			t.Fatal(err)
		}
	}
	status := h.volume("v").Status
	ready := condition(t, status.Conditions, "Ready")
	if ready.Status != "True" || status.ThinID == nil || *status.ThinID != 7 || status.PoolID != testID || status.Size.Value() != 1<<30 || status.ObservedGeneration != 1 {
		t.Errorf("status is %+v", status)
	}
	if h.statusWrites != 1 || h.writes != 0 || h.pool.creates != 1 {
		t.Errorf("%d status writes, %d writes, %d times made", h.statusWrites, h.writes, h.pool.creates)
	}
}

func TestVolumeThatIsRefused(t *testing.T) {
	for _, test := range []struct {
		err    error
		reason string
		again  bool
	}{
		{thinpool.ErrNoSpace, "NoSpace", false},
		{thinpool.ErrRegistryFull, "NoSpace", false},
		{thinpool.ErrSnapshotBudget, "NoSpace", false},
		{&thinpool.FieldError{Field: "size", Value: "0", Allowed: "more"}, "Invalid", false},
		{thinpool.ErrVolumeExists, "Invalid", false},
		{thinpool.ErrPoolFailed, "PoolFailed", true},
		{thinpool.ErrPoolClosed, "PoolNotReady", true},
		{unix.EIO, "Failed", true},
	} {
		t.Run(test.reason+" "+test.err.Error(), func(t *testing.T) {
			h := newHarness(t, readyPool(nil), volumeObject("v", nil))
			h.openPool()
			h.pool.createErr = test.err
			for range 2 {
				if _, err := h.reconcileVolume("v"); (err != nil) != test.again {
					t.Errorf("got %v", err)
				}
			}
			status := h.volume("v").Status
			ready := condition(t, status.Conditions, "Ready")
			if ready.Status != "False" || ready.Reason != test.reason || !contains(ready.Message, test.err.Error()) || status.ThinID != nil {
				t.Errorf("status is %+v", status)
			}
			if h.statusWrites != 1 {
				t.Errorf("%d status writes for one state", h.statusWrites)
			}
		})
	}
}

// An empty volume in the place of one that held data would be the worst answer of all.
func TestLostVolumeIsNotMadeAgain(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.ThinVolume)
		holds  *thinpool.Volume
	}{
		"not in the registry": {func(*v1alpha1.ThinVolume) {}, nil},
		"another thin id":     {func(*v1alpha1.ThinVolume) {}, &thinpool.Volume{Name: "v", ThinID: 6}},
		"another pool":        {func(v *v1alpha1.ThinVolume) { v.Status.PoolID = "ffffffffffffffffffffffffffffffff" }, &thinpool.Volume{Name: "v", ThinID: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, readyPool(nil), volumeObject("v", func(v *v1alpha1.ThinVolume) { made(v); test.change(v) }))
			h.openPool()
			if test.holds != nil {
				h.pool.created["v"] = *test.holds
			}
			if _, err := h.reconcileVolume("v"); err != nil {
				t.Fatal(err)
			}
			ready := condition(t, h.volume("v").Status.Conditions, "Ready")
			if h.pool.creates > 0 || ready.Status != "False" || ready.Reason != "VolumeNotFound" {
				t.Errorf("made %d times, ready is %+v", h.pool.creates, ready)
			}
		})
	}
}

func TestVolumeWaitsForItsPool(t *testing.T) {
	h := newHarness(t, poolObject(nil), volumeObject("new", nil), volumeObject("old", made), volumeObject("stray", func(v *v1alpha1.ThinVolume) {
		v.Spec.PoolName = "no-such"
	}))
	reconcile := func(name string) v1alpha1.ThinVolumeStatus {
		t.Helper()
		if result, err := h.reconcileVolume(name); err != nil || result.RequeueAfter != 0 {
			t.Fatalf("waiting is by event: %v, %v", result, err)
		}
		return h.volume(name).Status
	}
	// Not tried yet: nothing to say.
	if status := reconcile("new"); len(status.Conditions) > 0 {
		t.Errorf("status is %+v", status)
	}
	h.openErr = thinpool.ErrDeviceNotFound
	if _, err := h.reconcilePool(); err == nil {
		t.Fatal("no error")
	}
	if ready := condition(t, reconcile("new").Conditions, "Ready"); ready.Reason != "PoolNotReady" || !contains(ready.Message, "device not found") {
		t.Errorf("ready is %+v", ready)
	}
	if ready := condition(t, reconcile("stray").Conditions, "Ready"); ready.Reason != "PoolNotReady" {
		t.Errorf("ready is %+v", ready)
	}
	// What exists is the pool's matter: thousands of volumes would be written otherwise.
	if ready := condition(t, reconcile("old").Conditions, "Ready"); ready.Status != "True" {
		t.Errorf("ready is %+v", ready)
	}
	if h.pool.creates > 0 {
		t.Error("made without a pool")
	}
	// Open, but the cluster does not know its identity yet: a crash now would leave a volume that nobody can find.
	h.openErr = nil
	h.openPool()
	reconcile("new")
	if h.pool.creates > 0 {
		t.Error("made in a pool that the cluster does not know")
	}
	if _, err := h.reconcilePool(); err != nil {
		t.Fatal(err)
	}
	if ready := condition(t, reconcile("new").Conditions, "Ready"); ready.Status != "True" {
		t.Errorf("ready is %+v", ready)
	}
}

func TestVolumeRemoval(t *testing.T) {
	now := metav1.Now()
	deleting := func(v *v1alpha1.ThinVolume) { v.DeletionTimestamp = &now }

	t.Run("in one write", func(t *testing.T) {
		h := newHarness(t, readyPool(nil), volumeObject("v", func(v *v1alpha1.ThinVolume) { made(v); deleting(v) }))
		h.openPool()
		if _, err := h.reconcileVolume("v"); err != nil {
			t.Fatal(err)
		}
		if h.volume("v") != nil || h.pool.deletes != 1 || h.writes != 1 || h.statusWrites != 0 {
			t.Errorf("left %v, %d deletes, %d and %d writes", h.volume("v"), h.pool.deletes, h.writes, h.statusWrites)
		}
	})
	t.Run("in use", func(t *testing.T) {
		h := newHarness(t, readyPool(nil), volumeObject("v", func(v *v1alpha1.ThinVolume) { made(v); deleting(v) }))
		h.openPool()
		h.pool.deleteErr = &thinpool.Error{Op: "delete", Volume: "v", Err: thinpool.ErrVolumeInUse}
		for range 2 {
			result, err := h.reconcileVolume("v")
			if err != nil || result.RequeueAfter != inUseRetry {
				t.Errorf("got %v, %v", result, err)
			}
		}
		if ready := condition(t, h.volume("v").Status.Conditions, "Ready"); ready.Reason != "VolumeInUse" || h.statusWrites != 1 {
			t.Errorf("ready is %+v, %d writes", ready, h.statusWrites)
		}
		h.pool.deleteErr = nil
		if _, err := h.reconcileVolume("v"); err != nil || h.volume("v") != nil {
			t.Errorf("released: %v", err)
		}
	})
	t.Run("fails", func(t *testing.T) {
		h := newHarness(t, readyPool(nil), volumeObject("v", deleting))
		h.openPool()
		h.pool.deleteErr = unix.EIO
		if _, err := h.reconcileVolume("v"); !errors.Is(err, unix.EIO) || h.volume("v") == nil {
			t.Errorf("got %v", err)
		}
		if ready := condition(t, h.volume("v").Status.Conditions, "Ready"); ready.Reason != "Failed" || !contains(ready.Message, "deletion waits: input/output error") {
			t.Errorf("ready is %+v", ready)
		}
	})
	t.Run("disk is gone", func(t *testing.T) {
		h := newHarness(t, readyPool(nil), volumeObject("v", func(v *v1alpha1.ThinVolume) { made(v); deleting(v) }))
		h.openErr = &thinpool.Error{Op: "open", Pool: "fast", Err: fmt.Errorf("%w: /dev/vdb", thinpool.ErrDeviceNotFound)}
		if _, err := h.reconcilePool(); !errors.Is(err, thinpool.ErrDeviceNotFound) {
			t.Fatal(err)
		}
		if result, err := h.reconcileVolume("v"); err != nil || result.RequeueAfter == 0 {
			t.Errorf("got %v, %v", result, err)
		}
		ready := condition(t, h.volume("v").Status.Conditions, "Ready")
		if ready.Reason != "PoolNotReady" || !contains(ready.Message, "deletion waits") || !contains(ready.Message, "/dev/vdb") {
			t.Errorf("ready is %+v", ready)
		}
		h.openErr = nil
		if _, err := h.reconcilePool(); err != nil {
			t.Fatal(err)
		}
		if _, err := h.reconcileVolume("v"); err != nil || h.volume("v") != nil {
			t.Errorf("the disk is back: %v", err)
		}
	})
	t.Run("name of a pod's inline volume", func(t *testing.T) {
		h := newHarness(t, readyPool(nil), volumeObject("csi-0a", deleting))
		h.openPool()
		h.pool.created["csi-0a"] = thinpool.Volume{Name: "csi-0a", Owner: "pods/a/volumes/kubernetes.io~csi/x/mount"}
		if _, err := h.reconcileVolume("csi-0a"); err != nil || h.volume("csi-0a") != nil || h.pool.deletes > 0 {
			t.Errorf("%v, %d deletions: want the object gone, and the pod's volume there", err, h.pool.deletes)
		}
	})
	t.Run("pool is not open", func(t *testing.T) {
		// It may have been made, whatever its status says: the pool has been open once.
		h := newHarness(t, readyPool(nil), volumeObject("v", deleting))
		if _, err := h.reconcileVolume("v"); err != nil || h.volume("v") == nil {
			t.Errorf("gone while its thin device may exist: %v", err)
		}
	})
	t.Run("pool was never open", func(t *testing.T) {
		h := newHarness(t, poolObject(nil), volumeObject("v", deleting))
		if _, err := h.reconcileVolume("v"); err != nil || h.volume("v") != nil {
			t.Errorf("held for nothing: %v", err)
		}
	})
}

func TestForeignObjectsAreLeftAlone(t *testing.T) {
	foreignPool := readyPool(func(p *v1alpha1.NodeThinPool) { p.Spec.NodeName = "node-2" })
	foreignVolume := volumeObject("v", func(v *v1alpha1.ThinVolume) { v.Spec.NodeName = "node-2" })
	h := newHarness(t, foreignPool, foreignVolume)
	_, err := h.reconcilePool()
	_, err2 := h.reconcileVolume("v")
	if err := errors.Join(err, err2); err != nil || h.opens+h.pool.creates+h.statusWrites+h.writes > 0 {
		t.Errorf("%v, %d opens, %d creates, %d writes", err, h.opens, h.pool.creates, h.statusWrites+h.writes)
	}
}

func TestVolumeSpec(t *testing.T) {
	for field, change := range map[string]func(*v1alpha1.ThinVolume){
		"metadata.name":         func(v *v1alpha1.ThinVolume) { v.Name = "../x" },
		"spec.fsType":           func(v *v1alpha1.ThinVolume) { v.Spec.FSType = "vfat" },
		"with volumeMode Block": func(v *v1alpha1.ThinVolume) { v.Spec.VolumeMode = v1alpha1.VolumeModeBlock },
		"spec.capacity":         func(v *v1alpha1.ThinVolume) { v.Spec.Capacity = resource.MustParse("0") },
	} {
		if _, err := volumeSpec(volumeObject("v", change)); !errors.Is(err, thinpool.ErrInvalid) || !contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestBlockVolumeIsMade: what the engine is asked for has no file system.
func TestBlockVolumeIsMade(t *testing.T) {
	h := newHarness(t, readyPool(nil), volumeObject("v", func(v *v1alpha1.ThinVolume) {
		v.Spec.VolumeMode, v.Spec.FSType = v1alpha1.VolumeModeBlock, ""
	}))
	h.openPool()
	if _, err := h.reconcileVolume("v"); err != nil {
		t.Fatal(err)
	}
	ready := condition(t, h.volume("v").Status.Conditions, "Ready")
	if ready.Status != "True" || contains(ready.Message, "file system") || h.pool.created["v"].Format.Type != "" {
		t.Errorf("ready is %+v, made was %+v", ready, h.pool.created["v"])
	}
}
