package agent

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

func snapshotObject(name string, change func(*v1alpha1.ThinSnapshot)) *v1alpha1.ThinSnapshot {
	object := &v1alpha1.ThinSnapshot{
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1, Finalizers: []string{v1alpha1.VolumeFinalizer}},
		Spec: v1alpha1.ThinSnapshotSpec{
			NodeName: testNode, PoolName: "fast", VolumeName: "v", Capacity: resource.MustParse("1Gi"), FSType: "ext4",
		},
	}
	if change != nil {
		change(object)
	}
	return object
}

func (h *harness) reconcileSnapshot(name string) (reconcile.Result, error) {
	return h.snapshots.Reconcile(context.Background(), reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
}

func (h *harness) snapshot(name string) *v1alpha1.ThinSnapshot {
	h.t.Helper()
	object := &v1alpha1.ThinSnapshot{}
	if err := h.Get(context.Background(), types.NamespacedName{Name: name}, object); client.IgnoreNotFound(err) != nil {
		h.t.Fatal(err)
	} else if err != nil {
		return nil
	}
	return object
}

func (h *harness) deleteObject(object client.Object) {
	h.t.Helper()
	if err := h.Delete(context.Background(), object); err != nil {
		h.t.Fatal(err)
	}
}

// TestSnapshotIsTakenInOneWrite: moment and size are those of the registry, however often the snapshot is looked at, and by
// whichever process.
func TestSnapshotIsTakenInOneWrite(t *testing.T) {
	h := newHarness(t, readyPool(nil), snapshotObject("s", nil))
	h.openPool()
	h.pool.created["v"] = thinpool.Volume{Name: "v", ThinID: 5, Size: 3 << 30}
	h.pool.now = time.Date(2026, 11, 30, 12, 0, 0, 123456789, time.UTC)
	for range 3 {
		if _, err := h.reconcileSnapshot("s"); err != nil {
			t.Fatal(err)
		}
		h.pool.now = h.pool.now.Add(time.Hour)
	}
	status := h.snapshot("s").Status
	ready := condition(t, status.Conditions, "Ready")
	if ready.Status != "True" || status.ThinID == nil || *status.ThinID != 8 || status.PoolID != testID || status.ObservedGeneration != 1 {
		t.Errorf("status is %+v", status)
	}
	if status.RestoreSize.Value() != 3<<30 || !status.CreationTime.UTC().Equal(time.Date(2026, 11, 30, 12, 0, 0, 123456000, time.UTC)) {
		t.Errorf("restore size %s, created %s", status.RestoreSize, status.CreationTime)
	}
	if device, ok := h.pool.created["s.snapshot"]; !ok || device.Source != "v" || device.Format.Type != "ext4" {
		t.Errorf("the pool holds %+v", h.pool.created)
	}
	if h.statusWrites != 1 || h.writes != 0 {
		t.Errorf("%d status writes, %d writes", h.statusWrites, h.writes)
	}
}

// TestSnapshotThatIsRefused: above all one whose source lost a write, of which the kernel tells once, is not tried again.
func TestSnapshotThatIsRefused(t *testing.T) {
	for _, test := range []struct {
		err    error
		reason string
		again  bool
	}{
		{thinpool.ErrSyncFailed, "WritesLost", false},
		{thinpool.ErrPoolFull, "NoSpace", false},
		{thinpool.ErrSnapshotBudget, "NoSpace", false},
		{thinpool.ErrSourceNotFound, "VolumeNotFound", false},
		{thinpool.ErrPoolFailed, "PoolFailed", true},
		{unix.EIO, "Failed", true},
	} {
		t.Run(test.reason, func(t *testing.T) {
			h := newHarness(t, readyPool(nil), snapshotObject("s", nil))
			h.openPool()
			h.pool.createErr = test.err
			for range 2 {
				if _, err := h.reconcileSnapshot("s"); (err != nil) != test.again {
					t.Errorf("got %v", err)
				}
			}
			ready := condition(t, h.snapshot("s").Status.Conditions, "Ready")
			if ready.Status != "False" || ready.Reason != test.reason || !contains(ready.Message, test.err.Error()) || h.statusWrites != 1 {
				t.Errorf("%+v after %d writes", ready, h.statusWrites)
			}
		})
	}
}

// TestSnapshotThatIsLostIsNotTakenAgain: it would hold what its volume holds today.
func TestSnapshotThatIsLostIsNotTakenAgain(t *testing.T) {
	h := newHarness(t, readyPool(nil), snapshotObject("s", func(s *v1alpha1.ThinSnapshot) {
		s.Status.PoolID, s.Status.ThinID = testID, ptr.To(int64(5))
	}))
	h.openPool()
	if _, err := h.reconcileSnapshot("s"); err != nil {
		t.Fatal(err)
	}
	if ready := condition(t, h.snapshot("s").Status.Conditions, "Ready"); ready.Reason != "VolumeNotFound" || h.pool.creates != 0 {
		t.Errorf("%+v, made %d times", ready, h.pool.creates)
	}
}

// TestSnapshotIsDeletedByItsOwnName: a volume and a snapshot of one name have nothing to do with each other, whichever of them
// goes, and a volume that has the name of a snapshot's device deletes nothing.
func TestSnapshotIsDeletedByItsOwnName(t *testing.T) {
	snapshot, volume, impostor := snapshotObject("x", nil), volumeObject("x", nil), volumeObject("y.snapshot", nil)
	h := newHarness(t, readyPool(nil), snapshot, volume, impostor)
	h.openPool()
	for _, name := range []string{"x", "x.snapshot", "y.snapshot"} {
		h.pool.created[name] = thinpool.Volume{Name: name, ThinID: 5}
	}
	h.deleteObject(snapshot)
	if _, err := h.reconcileSnapshot("x"); err != nil {
		t.Fatal(err)
	}
	if _, there := h.pool.created["x.snapshot"]; there || h.snapshot("x") != nil || len(h.pool.created) != 2 {
		t.Errorf("after the snapshot was deleted the pool holds %v", h.pool.created)
	}
	h.deleteObject(impostor)
	if _, err := h.reconcileVolume("y.snapshot"); err != nil {
		t.Fatal(err)
	}
	if h.volume("y.snapshot") != nil || len(h.pool.created) != 2 {
		t.Errorf("after a volume with a snapshot's name was deleted the pool holds %v", h.pool.created)
	}
	h.deleteObject(volume)
	if _, err := h.reconcileVolume("x"); err != nil {
		t.Fatal(err)
	}
	if _, there := h.pool.created["x"]; there || len(h.pool.created) != 1 {
		t.Errorf("after the volume was deleted the pool holds %v", h.pool.created)
	}
}

// TestSnapshotsKeepThePool: they are no orphans, and a pool that is being deleted waits for them.
func TestSnapshotsKeepThePool(t *testing.T) {
	h := newHarness(t, readyPool(nil), snapshotObject("s", nil))
	h.openPool()
	h.pool.created["s.snapshot"] = thinpool.Volume{Name: "s.snapshot", ThinID: 5}
	h.pool.created["t.snapshot"] = thinpool.Volume{Name: "t.snapshot", ThinID: 6}
	orphaned, err := orphanedVolumes(context.Background(), h.cluster, "fast", h.pool)
	if err != nil || len(orphaned) != 1 || orphaned[0] != "t.snapshot" {
		t.Errorf("orphaned are %q, %v", orphaned, err)
	}
	h.deleteObject(h.cluster.pool(testPool))
	if _, err := h.reconcilePool(); err != nil {
		t.Fatal(err)
	}
	if waiting := condition(t, h.cluster.pool(testPool).Status.Conditions, "Admitting"); !contains(waiting.Message, "1 snapshots") || h.pool.down {
		t.Errorf("%+v, shut down: %t", waiting, h.pool.down)
	}
}
