//go:build e2e

package api

import (
	"context"
	"fmt"
	"testing"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// published is the longest that a change may take to be published.
const published = time.Second

// TestCapacityFollows: each change of what a pool can promise is published within a second.
func TestCapacityFollows(t *testing.T) {
	s := newScene(t, 2, 10*gibibyte)
	node, other := s.nodes[0], s.nodes[1]
	object, err := s.capacity(t.Context(), node)
	must(t, err)
	if object.Labels[v1alpha1.LabelManagedBy] != v1alpha1.ManagedByCapacity || object.Labels[v1alpha1.LabelPool] != s.pool {
		t.Errorf("labels are %v", object.Labels)
	}
	part := v1alpha1.NodeThinPoolName(s.pool, node.name)
	if owner := metav1.GetControllerOf(object); owner == nil || owner.Kind != "NodeThinPool" || owner.Name != part {
		t.Errorf("the owner is %+v, want NodeThinPool %s", owner, part)
	}
	expect := func(what string, size int64) {
		t.Helper()
		if took := s.awaitCapacity(node, size); took > published {
			t.Errorf("%s: published after %s, want at most %s", what, took, published)
		}
	}
	volume := s.mustCreate(s.request(uniqueName("pvc"), 2*gibibyte, node))
	expect("volume made", 8*gibibyte)
	node.report(s.pool, 10*gibibyte, 9*gibibyte)
	expect("space used", gibibyte)
	node.report(s.pool, 12*gibibyte, 2*gibibyte)
	expect("pool grown", 10*gibibyte)
	must(t, s.delete(volume.VolumeId))
	expect("volume deleted", 10*gibibyte)
	node.reportInline(s.pool, 3*gibibyte)
	expect("pods with inline volumes", 9*gibibyte)
	node.reportInline(s.pool, 0)
	expect("without them", 10*gibibyte)
	node.reportConditions(s.pool, 12*gibibyte, 0, metav1.Condition{Type: v1alpha1.ConditionAdmitting, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonBelowMinFree})
	expect("not admitting", 0)
	node.report(s.pool, 12*gibibyte, 0)
	expect("admitting again", 12*gibibyte)
	node.reportConditions(s.pool, 12*gibibyte, 0, metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonPoolFailed})
	expect("pool failed", 0)
	node.report(s.pool, 12*gibibyte, 0)
	expect("pool repaired", 12*gibibyte)
	node.setReady(false)
	expect("node not ready", 0)
	node.setReady(true)
	node.setAgentReady(false)
	expect("agent not ready", 0)
	node.setAgentReady(true)
	expect("agent ready again", 12*gibibyte)
	s.changePool(`{"spec":{"minFreeSpace":"50%"}}`)
	expect("more space kept free", 6*gibibyte)
	s.changePool(`{"spec":{"overprovision":"1.5","minFreeSpace":"0%"}}`)
	expect("overprovisioned, as far as space is free", 12*gibibyte)
	s.awaitCapacity(other, 10*gibibyte)
}

func (s *scene) changePool(patch string) {
	s.Helper()
	pool := &v1alpha1.ThinPool{ObjectMeta: metav1.ObjectMeta{Name: s.pool}}
	must(s.T, suite.Patch(s.Context(), pool, merge(patch)))
}

// TestCapacityAtRest: where nothing changes nothing is written: not when a status is written again, not by a controller that
// was restarted, not by two controllers.
func TestCapacityAtRest(t *testing.T) {
	s := newScene(t, 2, 10*gibibyte)
	s.mustCreate(s.request(uniqueName("pvc"), gibibyte, s.nodes[0]))
	s.awaitCapacity(s.nodes[0], 9*gibibyte)
	object, err := s.capacity(t.Context(), s.nodes[0])
	must(t, err)
	before := len(writes(t, "csistoragecapacities", ""))
	s.stop()
	s.replica = startReplica(t)
	startReplica(t, withoutLeaderElection)
	s.nodes[0].reportConditions(s.pool, 10*gibibyte, 0, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, Message: "the same in other words"})
	// Both work: what is deleted comes back. Only then their rest means something.
	must(t, suite.Delete(t.Context(), object))
	s.awaitCapacity(s.nodes[0], 9*gibibyte)
	time.Sleep(time.Second)
	var succeeded []write
	for _, w := range writes(t, "csistoragecapacities", "")[before:] {
		if w.ResponseStatus.Code < 300 {
			succeeded = append(succeeded, w)
		}
	}
	if len(succeeded) != 2 {
		t.Errorf("writes:\n%s\nwant the test's delete and one create", describe(succeeded))
	}
}

// TestCapacityBurst: many changes at once become few writes.
func TestCapacityBurst(t *testing.T) {
	s := newScene(t, 1, 100*gibibyte)
	object, err := s.capacity(t.Context(), s.nodes[0])
	must(t, err)
	before := len(writes(t, "csistoragecapacities", object.Name))
	begin := time.Now()
	for range 50 {
		s.mustCreate(s.request(uniqueName("pvc"), gibibyte, s.nodes[0]))
	}
	took := time.Since(begin)
	s.awaitCapacity(s.nodes[0], 50*gibibyte)
	made := len(writes(t, "csistoragecapacities", object.Name)) - before
	// A write per window of 100 ms, and the last one.
	if most := int(took/(100*time.Millisecond)) + 2; made > most {
		t.Errorf("%d writes for 50 volumes in %s, want at most %d", made, took, most)
	}
	t.Logf("%d writes for 50 volumes in %s", made, took)
}

// TestCapacityOfClasses: a class that comes gets its objects, one that goes loses them; a class that names no pool means the
// default one; a class of another driver is left alone.
func TestCapacityOfClasses(t *testing.T) {
	s := newScene(t, 1, 10*gibibyte)
	node := s.nodes[0]
	second := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: uniqueName("second")}, Provisioner: v1alpha1.DriverName,
		Parameters: map[string]string{v1alpha1.ParameterPool: s.pool},
	}
	must(t, suite.Create(t.Context(), second))
	twin := *s
	twin.class = second.Name
	twin.awaitCapacity(node, 10*gibibyte)
	remove(t, second)
	twin.awaitCapacity(node, -1)
	s.awaitCapacity(node, 10*gibibyte)

	foreign := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: uniqueName("foreign")}, Provisioner: "example.com"}
	must(t, suite.Create(t.Context(), foreign))
	t.Cleanup(func() { remove(t, foreign) })
	right, err := s.capacity(t.Context(), node)
	must(t, err)
	theirs := s.stray(uniqueName("theirs"), foreign.Name, node, nil)
	doubles := []client.Object{
		s.stray(uniqueName("csisc-other-publisher"), s.class, node, nil),
		s.stray(uniqueName("duplicate"), s.class, node, right),
		s.stray(uniqueName("gone-class"), "no-such-class", node, right),
	}
	for _, double := range doubles {
		awaitGone(t, double)
	}
	if !exists(t, theirs) {
		t.Error("an object of another driver's class was deleted")
	}
	s.awaitCapacity(node, 10*gibibyte)
}

// TestCapacityLeftovers: what became superfluous, or wrong, while no controller ran is put right by the next one.
func TestCapacityLeftovers(t *testing.T) {
	s := newScene(t, 2, 10*gibibyte)
	wrong, err := s.capacity(t.Context(), s.nodes[0])
	must(t, err)
	right, err := s.capacity(t.Context(), s.nodes[1])
	must(t, err)
	s.stop()
	wrong.Capacity = resource.NewQuantity(999*gibibyte, resource.BinarySI)
	must(t, suite.Update(t.Context(), wrong))
	double := s.stray(uniqueName("duplicate"), s.class, s.nodes[0], wrong)
	gone := &v1alpha1.NodeThinPool{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeThinPoolName(s.pool, s.nodes[1].name)}}
	must(t, suite.Patch(t.Context(), &v1alpha1.ThinPool{ObjectMeta: metav1.ObjectMeta{Name: s.pool}},
		merge(fmt.Sprintf(`{"spec":{"nodeSelector":{"matchLabels":{"kubernetes.io/hostname":%q}}}}`, "nowhere"))))
	remove(t, gone)
	s.replica = startReplica(t)
	s.awaitCapacity(s.nodes[0], 0)
	for _, object := range []client.Object{double, right} {
		awaitGone(t, object)
	}
}

// stray makes a capacity object that is none of the tracker's names: another publisher's, or, with labels and owner of one of the
// tracker's, what a version of the driver that named its objects in another way would have left.
func (s *scene) stray(name, class string, node *standIn, like *storagev1.CSIStorageCapacity) *storagev1.CSIStorageCapacity {
	s.Helper()
	object := &storagev1.CSIStorageCapacity{
		ObjectMeta:       metav1.ObjectMeta{Namespace: namespace, Name: name},
		StorageClassName: class,
		NodeTopology:     &metav1.LabelSelector{MatchLabels: topology(node).Segments},
		Capacity:         resource.NewQuantity(1<<50, resource.BinarySI),
	}
	if like != nil {
		object.Labels, object.OwnerReferences = like.Labels, like.OwnerReferences
	}
	must(s.T, suite.Create(s.Context(), object))
	s.Cleanup(func() { remove(s.T, object) })
	return object
}

// TestCapacityOfDefaultPool: a class that names no pool means the pool "default".
func TestCapacityOfDefaultPool(t *testing.T) {
	node := newStandIn(t, uniqueName("node"), nil)
	startReplica(t)
	pool := &v1alpha1.ThinPool{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.DefaultPoolName},
		Spec:       v1alpha1.ThinPoolSpec{PoolSettings: v1alpha1.PoolSettings{MinFreeSpace: "0%", Source: v1alpha1.PoolSource{Devices: []string{"/dev/sdx"}}}},
	}
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: uniqueName("class")}, Provisioner: v1alpha1.DriverName}
	t.Cleanup(func() {
		remove(t, &v1alpha1.NodeThinPool{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeThinPoolName(pool.Name, node.name)}})
	})
	for _, object := range []client.Object{class, pool} {
		must(t, suite.Create(t.Context(), object))
		t.Cleanup(func() { remove(t, object) })
	}
	node.report(pool.Name, gibibyte, 0)
	s := &scene{T: t, pool: pool.Name, class: class.Name, nodes: []*standIn{node}}
	s.awaitCapacity(node, gibibyte)
	await(t, "the ThinPool's summary", func(ctx context.Context) string {
		must(t, suite.Get(ctx, client.ObjectKeyFromObject(pool), pool))
		if pool.Status.Nodes != 1 || pool.Status.ReadyNodes != 1 || !apimeta.IsStatusConditionTrue(pool.Status.Conditions, v1alpha1.ConditionReady) {
			return fmt.Sprintf("status is %+v", pool.Status)
		}
		return ""
	})
}
