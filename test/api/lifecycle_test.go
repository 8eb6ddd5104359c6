//go:build e2e

package api

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	storagev1 "k8s.io/api/storage/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller"
)

func withoutLeaderElection(o *controller.Options) { o.LeaderElection = false }

func (s *scene) part(node *standIn) *v1alpha1.NodeThinPool {
	return &v1alpha1.NodeThinPool{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeThinPoolName(s.pool, node.name)}}
}

// awaitState waits until an object is as check wants it; check says what is missing.
func awaitState(t *testing.T, object client.Object, what string, check func() string) {
	t.Helper()
	await(t, object.GetName()+" to be "+what, func(ctx context.Context) string {
		if err := suite.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err.Error()
		}
		return check()
	})
}

// TestPartsFollowLabels: a node that loses the label keeps a part that holds volumes, with no capacity, and gives it up with the last
// of them; a label that comes back takes all of it back.
func TestPartsFollowLabels(t *testing.T) {
	s := newScene(t, 2, 10*gibibyte)
	node := s.nodes[0]
	volume := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, node))
	object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node.name}}
	must(t, suite.Get(t.Context(), client.ObjectKeyFromObject(object), object))
	label := object.Labels["scene"]
	relabel := func(value string) {
		must(t, suite.Patch(t.Context(), object, merge(fmt.Sprintf(`{"metadata":{"labels":{"scene":%q}}}`, value))))
	}
	relabel("away")
	s.awaitCapacity(node, 0)
	relabel(label)
	s.awaitCapacity(node, 9*gibibyte)
	relabel("away")
	s.awaitCapacity(node, 0)
	part := s.part(node)
	if !exists(t, part) || part.DeletionTimestamp != nil {
		t.Fatal("a part with a volume in it was taken away")
	}
	must(t, s.delete(volume.VolumeId))
	awaitState(t, part, "deleted", func() string {
		if part.DeletionTimestamp == nil {
			return "it is not deleted"
		}
		return ""
	})
	// The rest is the agent's: it removes the finalizer once the devices are gone.
	must(t, node.Patch(t.Context(), part, merge(`{"metadata":{"finalizers":null}}`)))
	awaitGone(t, part)
	s.awaitCapacity(s.nodes[1], 10*gibibyte)
	pool := &v1alpha1.ThinPool{ObjectMeta: metav1.ObjectMeta{Name: s.pool}}
	awaitState(t, pool, "on one node", func() string {
		if pool.Status.Nodes != 1 || pool.Status.ReadyNodes != 1 {
			return fmt.Sprintf("status is %+v", pool.Status)
		}
		return ""
	})
}

// TestPoolEverywhere: a pool that names no nodes comes to each node that runs the driver, to no other, and stays while the driver is
// away for a moment.
func TestPoolEverywhere(t *testing.T) {
	with := newStandIn(t, uniqueName("with"), nil)
	without := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: uniqueName("without")}}
	must(t, suite.Create(t.Context(), without))
	t.Cleanup(func() { remove(t, without) })
	pool := &v1alpha1.ThinPool{
		ObjectMeta: metav1.ObjectMeta{Name: uniqueName("everywhere")},
		Spec:       v1alpha1.ThinPoolSpec{PoolSettings: v1alpha1.PoolSettings{Source: v1alpha1.PoolSource{Devices: []string{"/dev/sdx"}}}},
	}
	s := &scene{T: t, pool: pool.Name}
	part, none := s.part(with), &v1alpha1.NodeThinPool{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeThinPoolName(pool.Name, without.Name)}}
	t.Cleanup(func() { remove(t, part) })
	startReplica(t)
	must(t, suite.Create(t.Context(), pool))
	t.Cleanup(func() { remove(t, pool) })
	awaitState(t, part, "made", func() string { return "" })
	made := part.UID

	csiNode := &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: with.name}}
	must(t, suite.Get(t.Context(), client.ObjectKeyFromObject(csiNode), csiNode))
	drivers := csiNode.Spec.Drivers
	csiNode.Spec.Drivers = nil
	must(t, suite.Update(t.Context(), csiNode))
	awaitState(t, pool, "summed up", func() string {
		if pool.Status.Nodes != 1 {
			return fmt.Sprintf("status is %+v", pool.Status)
		}
		return ""
	})
	csiNode.Spec.Drivers = drivers
	must(t, suite.Update(t.Context(), csiNode))
	if !exists(t, part) || part.UID != made || part.DeletionTimestamp != nil {
		t.Error("the part went with the driver")
	}
	if exists(t, none) {
		t.Error("a node without the driver has a part")
	}
}

// TestBadSelector: a label that cannot be one is said in the ThinPool's condition, and nothing is taken away for it.
func TestBadSelector(t *testing.T) {
	s := newScene(t, 1, gibibyte)
	s.changePool(`{"spec":{"nodeSelector":{"matchLabels":{"scene":"not a label value"}}}}`)
	pool := &v1alpha1.ThinPool{ObjectMeta: metav1.ObjectMeta{Name: s.pool}}
	awaitState(t, pool, "found wanting", func() string {
		condition := apimeta.FindStatusCondition(pool.Status.Conditions, v1alpha1.ConditionReady)
		if condition == nil || condition.Reason != v1alpha1.ReasonInvalidSelector || !strings.Contains(condition.Message, "spec.nodeSelector") ||
			!strings.Contains(condition.Message, "not a label value") {
			return fmt.Sprintf("conditions are %+v", pool.Status.Conditions)
		}
		return ""
	})
	s.awaitCapacity(s.nodes[0], 0)
	if part := s.part(s.nodes[0]); !exists(t, part) || part.DeletionTimestamp != nil {
		t.Error("the part was taken away")
	}
}

// TestSettingsAreCopied: what the admin changes reaches the nodes, what the agent wrote stays.
func TestSettingsAreCopied(t *testing.T) {
	s := newScene(t, 1, 10*gibibyte)
	s.changePool(`{"spec":{"overprovision":3,"whenFull":"Wait","discardOnDelete":false}}`)
	part := s.part(s.nodes[0])
	awaitState(t, part, "changed", func() string {
		spec := part.Spec.PoolSettings
		if spec.Overprovision == nil || spec.Overprovision.Value() != 3 || spec.WhenFull != v1alpha1.WhenFullWait || spec.DiscardOnDelete == nil || *spec.DiscardOnDelete {
			return fmt.Sprintf("settings are %+v", spec)
		}
		return ""
	})
	if part.Status.PoolID == "" {
		t.Error("the status is lost")
	}
}

// TestThinPoolDeletion: a ThinPool that is deleted stays as long as it has volumes, says for which, and takes no new one.
func TestThinPoolDeletion(t *testing.T) {
	s := newScene(t, 1, 10*gibibyte)
	node := s.nodes[0]
	name := uniqueName("pvc")
	volume := s.mustCreate(s.request(name, gibibyte, node))
	pool := &v1alpha1.ThinPool{ObjectMeta: metav1.ObjectMeta{Name: s.pool}}
	must(t, suite.Delete(t.Context(), pool))
	awaitState(t, pool, "waiting for its volume", func() string {
		condition := apimeta.FindStatusCondition(pool.Status.Conditions, v1alpha1.ConditionDeleting)
		if condition == nil || !strings.Contains(condition.Message, volume.VolumeId) || !strings.Contains(condition.Message, "default/claim-"+name) {
			return fmt.Sprintf("conditions are %+v", pool.Status.Conditions)
		}
		return ""
	})
	s.awaitCapacity(node, 0)
	if _, err := s.create(s.request(uniqueName("pvc"), gibibyte, node)); err == nil || !strings.Contains(err.Error(), "deleted") {
		t.Errorf("a pool that is being deleted took a volume: %v", err)
	}
	must(t, s.delete(volume.VolumeId))
	part := s.part(node)
	awaitState(t, part, "deleted", func() string {
		if part.DeletionTimestamp == nil {
			return "it is not deleted"
		}
		return ""
	})
	must(t, node.Patch(t.Context(), part, merge(`{"metadata":{"finalizers":null}}`)))
	awaitGone(t, pool)
	s.awaitCapacity(node, -1)
}

// TestNodeGone: when a Node is deleted its deleted volumes and, without volumes, its parts are let go.
func TestNodeGone(t *testing.T) {
	s := newScene(t, 2, 10*gibibyte)
	node := s.nodes[0]
	volume := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, node))
	node.keep(true)
	must(t, suite.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node.name}}))
	s.awaitCapacity(node, 0)
	begin := time.Now()
	must(t, s.delete(volume.VolumeId))
	t.Logf("the volume was let go after %s", time.Since(begin))
	awaitGone(t, s.part(node))
	await(t, "the capacity object to be gone", func(ctx context.Context) string {
		object, err := s.capacity(ctx, node)
		if err != nil || object != nil {
			return fmt.Sprint(object, err)
		}
		return ""
	})
}

// TestRefusedVolumeIsSwept: a volume that its node refused while nobody waited for it does not stay for ever.
func TestRefusedVolumeIsSwept(t *testing.T) {
	s := newScene(t, 1, 10*gibibyte)
	s.nodes[0].decide(func(*v1alpha1.ThinVolume) *metav1.Condition {
		condition := refuses(v1alpha1.ReasonNoSpace)(nil)
		condition.LastTransitionTime = metav1.NewTime(time.Now().Add(-2 * time.Minute))
		return condition
	})
	volume := &v1alpha1.ThinVolume{
		ObjectMeta: metav1.ObjectMeta{Name: uniqueName("left"), Finalizers: []string{v1alpha1.VolumeFinalizer}},
		Spec:       v1alpha1.ThinVolumeSpec{NodeName: s.nodes[0].name, PoolName: s.pool, Capacity: resource.MustParse("1Gi"), FSType: "ext4"},
	}
	must(t, suite.Create(t.Context(), volume))
	awaitGone(t, volume)
}

// awaitEvent waits for an event on an object; each word is in its note.
func awaitEvent(t *testing.T, kind, name, eventType, reason string, words ...string) {
	t.Helper()
	await(t, fmt.Sprintf("an event %s on %s %s", reason, kind, name), func(ctx context.Context) string {
		var list eventsv1.EventList
		must(t, suite.List(ctx, &list, client.MatchingFields{"regarding.kind": kind, "regarding.name": name}))
		for _, event := range list.Items {
			missing := slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(event.Note, word) })
			if event.Type == eventType && event.Reason == reason && !missing {
				return ""
			}
		}
		return fmt.Sprintf("there are %d others", len(list.Items))
	})
}

// TestEvents: what a node reports is an event on the ThinPool and on the Node.
func TestEvents(t *testing.T) {
	s := newScene(t, 1, 10*gibibyte)
	const message = "source.devices: /dev/sdx carries the signature ext4"
	s.nodes[0].reportConditions(s.pool, 0, 0, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonSignatureFound, Message: message})
	awaitEvent(t, "ThinPool", s.pool, corev1.EventTypeWarning, v1alpha1.ReasonSignatureFound, message)
	awaitEvent(t, "Node", s.nodes[0].name, corev1.EventTypeWarning, v1alpha1.ReasonSignatureFound, message)
	s.nodes[0].report(s.pool, 10*gibibyte, 0)
	awaitEvent(t, "ThinPool", s.pool, corev1.EventTypeNormal, v1alpha1.ReasonReady, s.nodes[0].name)
}

// TestPoolsFile: the pools of the chart's values are applied, a bad one does not keep the others away, and a pool that leaves the
// file stays.
func TestPoolsFile(t *testing.T) {
	good, bad := uniqueName("filed"), uniqueName("filed-bad")
	file := filepath.Join(t.TempDir(), "pools.yaml")
	must(t, os.WriteFile(file, []byte(fmt.Sprintf(`
- name: %s
  spec: {blockSize: 100Ki, source: {devices: [/dev/sdx]}}
- name: %s
  spec: {nodeSelector: {matchLabels: {scene: nowhere}}, overprovision: 2, source: {devices: [/dev/sdx]}}
`, bad, good)), 0o600))
	r := startReplica(t, func(o *controller.Options) { o.PoolsFile = file })
	pool := &v1alpha1.ThinPool{ObjectMeta: metav1.ObjectMeta{Name: good}}
	t.Cleanup(func() { remove(t, pool) })
	awaitState(t, pool, "applied", func() string { return "" })
	if pool.Spec.Overprovision.Value() != 2 {
		t.Errorf("spec is %+v", pool.Spec)
	}
	if exists(t, &v1alpha1.ThinPool{ObjectMeta: metav1.ObjectMeta{Name: bad}}) {
		t.Error("the bad pool was applied")
	}
	r.stop()
	must(t, os.WriteFile(file, []byte("[]\n"), 0o600))
	startReplica(t, func(o *controller.Options) { o.PoolsFile = file })
	time.Sleep(300 * time.Millisecond)
	if !exists(t, pool) || pool.DeletionTimestamp != nil {
		t.Error("a pool that left the file was deleted")
	}
}
