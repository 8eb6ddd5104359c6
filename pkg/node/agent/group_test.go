package agent

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

func groupObject(name string) *v1alpha1.ThinGroupSnapshot {
	return &v1alpha1.ThinGroupSnapshot{
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1, Finalizers: []string{v1alpha1.VolumeFinalizer}},
		Spec: v1alpha1.ThinGroupSnapshotSpec{NodeName: testNode, PoolName: "fast", Members: []v1alpha1.GroupSnapshotMember{
			{VolumeName: "v", SnapshotName: name + "-v", Capacity: resource.MustParse("1Gi")},
			{VolumeName: "w", SnapshotName: name + "-w", Capacity: resource.MustParse("1Gi")},
		}},
	}
}

func (h *harness) reconcileGroup(name string) (*v1alpha1.ThinGroupSnapshot, error) {
	h.t.Helper()
	if _, err := h.groups.Reconcile(context.Background(), reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}); err != nil {
		return nil, err
	}
	object := &v1alpha1.ThinGroupSnapshot{}
	err := h.Get(context.Background(), types.NamespacedName{Name: name}, object)
	if client.IgnoreNotFound(err) != nil {
		h.t.Fatal(err)
	}
	if err != nil {
		return nil, nil
	}
	return object, nil
}

// TestGroupIsTakenInOneWrite: one object, one write, and the snapshots' own objects find what the group has taken and nothing else.
func TestGroupIsTakenInOneWrite(t *testing.T) {
	member := func(name, volume string) *v1alpha1.ThinSnapshot {
		return snapshotObject(name, func(s *v1alpha1.ThinSnapshot) { s.Spec.GroupName, s.Spec.VolumeName = "g", volume })
	}
	h := newHarness(t, readyPool(nil), groupObject("g"), member("g-v", "v"), member("g-w", "v"), member("g-x", "v"))
	h.openPool()
	h.pool.now, h.pool.held = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC), 1500*time.Microsecond
	for range 3 {
		group, err := h.reconcileGroup("g")
		if err != nil {
			t.Fatal(err)
		}
		ready := condition(t, group.Status.Conditions, "Ready")
		if ready.Status != "True" || !group.Status.CreationTime.UTC().Equal(h.pool.now) || group.Status.LongestFreeze.Duration != h.pool.held {
			t.Errorf("status is %+v", group.Status)
		}
	}
	if h.statusWrites != 1 || h.pool.creates != 2 || h.pool.created["g-v.snapshot"].Source != "v" || h.pool.created["g-w.snapshot"].Source != "w" {
		t.Errorf("%d status writes, %d snapshots taken, the pool holds %v", h.statusWrites, h.pool.creates, h.pool.created)
	}
	for name, want := range map[string]string{"g-v": v1alpha1.ReasonReady, "g-w": v1alpha1.ReasonVolumeNotFound, "g-x": v1alpha1.ReasonVolumeNotFound} {
		if _, err := h.reconcileSnapshot(name); err != nil {
			t.Fatal(err)
		}
		if ready := condition(t, h.snapshot(name).Status.Conditions, "Ready"); ready.Reason != want {
			t.Errorf("%s: %+v, want %s", name, ready, want)
		}
	}
	if h.pool.creates != 2 {
		t.Errorf("%d snapshots were taken: one that is not the group's was taken afterwards", h.pool.creates)
	}
	if orphaned, err := orphanedVolumes(context.Background(), h.cluster, "fast", h.pool); err != nil || len(orphaned) > 0 {
		t.Errorf("orphaned are %q, %v", orphaned, err)
	}
}

// TestGroupIsDeletedWithItsSnapshots: nothing of it is left, whether or not its snapshots had objects; nothing else goes.
func TestGroupIsDeletedWithItsSnapshots(t *testing.T) {
	group := groupObject("g")
	h := newHarness(t, readyPool(nil), group)
	h.openPool()
	h.pool.created["v"] = thinpool.Volume{Name: "v"}
	if _, err := h.reconcileGroup("g"); err != nil {
		t.Fatal(err)
	}
	h.deleteObject(group)
	if left, err := h.reconcileGroup("g"); err != nil || left != nil {
		t.Errorf("%+v, %v", left, err)
	}
	if _, there := h.pool.created["v"]; !there || len(h.pool.created) != 1 {
		t.Errorf("the pool holds %v", h.pool.created)
	}
}
