//go:build e2e

package api

import (
	"context"
	"fmt"
	"sync"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

const blockSize = 64 << 10

// verdict is what a stand-in makes of a new volume: the condition Ready that it writes, or nothing at all if it is nil.
type verdict func(volume *v1alpha1.ThinVolume) *metav1.Condition

// makes says that the volume exists.
func makes(*v1alpha1.ThinVolume) *metav1.Condition {
	return &metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady}
}

// refuses says why it will not be made.
func refuses(reason string) verdict {
	return func(*v1alpha1.ThinVolume) *metav1.Condition {
		return &metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: reason, Message: "the stand-in refuses"}
	}
}

// sleeps says nothing.
func sleeps(*v1alpha1.ThinVolume) *metav1.Condition { return nil }

// growthVerdict is what a stand-in makes of a volume that is to grow: the condition ExpansionFailed, nil if it grows, or nothing at
// all if answers is false.
type growthVerdict func(volume *v1alpha1.ThinVolume) (failure *metav1.Condition, answers bool)

// grows says that the volume has its new size.
func grows(*v1alpha1.ThinVolume) (*metav1.Condition, bool) { return nil, true }

// growsNot says nothing.
func growsNot(*v1alpha1.ThinVolume) (*metav1.Condition, bool) { return nil, false }

// refusesGrowth says why it has not.
func refusesGrowth(reason string) growthVerdict {
	return func(*v1alpha1.ThinVolume) (*metav1.Condition, bool) {
		return &metav1.Condition{Type: v1alpha1.ConditionExpansionFailed, Status: metav1.ConditionTrue, Reason: reason, Message: "the stand-in does not grow it"}, true
	}
}

// standIn is a node with a pod of the agent, and writes what an agent writes with an agent's token. It keeps no volumes.
type standIn struct {
	t    *testing.T
	name string
	// Client has the agent's rights.
	client.WithWatch

	mu      sync.Mutex
	verdict verdict
	// onSnapshots is what becomes of new snapshots: the condition that it gives, or nothing if it is nil.
	onSnapshots func() *metav1.Condition
	growth      growthVerdict
	// keeps leaves deleted volumes' finalizers alone.
	keeps  bool
	nextID int64
}

// newStandIn makes a node that is ready, runs the driver, and serves its volumes until the test ends.
func newStandIn(t *testing.T, name string, labels map[string]string) *standIn {
	t.Helper()
	ctx := t.Context()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	must(t, suite.Create(ctx, node))
	t.Cleanup(func() { remove(t, node) })
	csiNode := &storagev1.CSINode{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{{
			Name: v1alpha1.DriverName, NodeID: name, TopologyKeys: []string{v1alpha1.TopologyKey},
		}}},
	}
	must(t, suite.Create(ctx, csiNode))
	t.Cleanup(func() { remove(t, csiNode) })
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "agent-" + name, Labels: map[string]string{
			"app.kubernetes.io/name": "csi-dm", "app.kubernetes.io/instance": "csi-dm", "app.kubernetes.io/component": "node",
		}},
		Spec: corev1.PodSpec{
			NodeName: name, ServiceAccountName: "csi-dm-node",
			Containers: []corev1.Container{{Name: "csi-dm", Image: "none"}},
		},
	}
	must(t, suite.Create(ctx, pod))
	t.Cleanup(func() {
		now := int64(0)
		if err := client.IgnoreNotFound(suite.Delete(context.Background(), pod, &client.DeleteOptions{GracePeriodSeconds: &now})); err != nil {
			t.Error(err)
		}
	})
	s := &standIn{t: t, name: name, verdict: makes, growth: grows, onSnapshots: takes}
	s.setReady(true)
	s.setAgentReady(true)
	config := rest.AnonymousClientConfig(suite.config)
	config.BearerToken = token(t, pod)
	config.QPS, config.Burst = 500, 1000
	var err error
	s.WithWatch, err = client.NewWithWatch(config, client.Options{Scheme: suite.Scheme(), Mapper: suite.RESTMapper()})
	must(t, err)
	s.serve()
	s.serveSnapshots()
	s.serveGroups()
	return s
}

// token is one as kubelet projects it into the pod: bound to it, and so to its node.
func token(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: pod.Spec.ServiceAccountName}}
	must(t, suite.SubResource("token").Create(t.Context(), account, request))
	return request.Status.Token
}

// setReady sets the Node's condition.
func (s *standIn) setReady(ready bool) {
	s.t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.name}}
	must(s.t, suite.Get(context.Background(), client.ObjectKeyFromObject(node), node))
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: conditionStatus(ready), Reason: "Test"}}
	must(s.t, suite.Status().Update(context.Background(), node))
}

// setAgentReady sets the condition of the agent's pod.
func (s *standIn) setAgentReady(ready bool) {
	s.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "agent-" + s.name}}
	must(s.t, suite.Get(context.Background(), client.ObjectKeyFromObject(pod), pod))
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: conditionStatus(ready)}}
	must(s.t, suite.Status().Update(context.Background(), pod))
}

func conditionStatus(value bool) corev1.ConditionStatus {
	if value {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}

// decide changes what becomes of new volumes.
func (s *standIn) decide(v verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verdict = v
}

// decideGrowth changes what becomes of volumes that are to grow.
func (s *standIn) decideGrowth(v growthVerdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.growth = v
}

// keep changes whether deleted volumes stay.
func (s *standIn) keep(keeps bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keeps = keeps
}

// serve handles the node's volumes, seen through a watch that is filtered by node, until the test ends.
func (s *standIn) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	watch, err := s.Watch(ctx, &v1alpha1.ThinVolumeList{}, client.MatchingFields{"spec.nodeName": s.name})
	must(s.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range watch.ResultChan() {
			volume, ok := event.Object.(*v1alpha1.ThinVolume)
			if !ok || event.Type == "DELETED" {
				continue
			}
			if volume.Spec.NodeName != s.name {
				s.t.Errorf("the watch of node %s shows a volume of node %s", s.name, volume.Spec.NodeName)
			}
			if err := s.handle(ctx, volume); err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				s.t.Errorf("stand-in for %s: %v", s.name, err)
			}
		}
	}()
	s.t.Cleanup(func() {
		cancel()
		watch.Stop()
		<-done
	})
}

func (s *standIn) handle(ctx context.Context, volume *v1alpha1.ThinVolume) error {
	s.mu.Lock()
	decide, keeps := s.verdict, s.keeps
	s.nextID++
	id := s.nextID
	s.mu.Unlock()
	before := volume.DeepCopy()
	if volume.DeletionTimestamp != nil {
		if keeps || !controllerutil.RemoveFinalizer(volume, v1alpha1.VolumeFinalizer) {
			return nil
		}
		return s.Patch(ctx, volume, client.MergeFrom(before))
	}
	if size := volume.Status.Size; size != nil {
		if size.Cmp(volume.Spec.Capacity) >= 0 || volume.Status.ObservedGeneration == volume.Generation {
			return nil
		}
		return s.grow(ctx, volume)
	}
	condition := decide(volume)
	if condition == nil || len(volume.Status.Conditions) > 0 {
		return nil
	}
	condition.ObservedGeneration = volume.Generation
	apimeta.SetStatusCondition(&volume.Status.Conditions, *condition)
	if condition.Status == metav1.ConditionTrue {
		volume.Status.PoolID, volume.Status.ThinID = "pool", &id
		volume.Status.Size = wholeBlocks(volume.Spec.Capacity)
	}
	return s.Status().Patch(ctx, volume, client.MergeFrom(before))
}

func (s *standIn) grow(ctx context.Context, volume *v1alpha1.ThinVolume) error {
	s.mu.Lock()
	decide := s.growth
	s.mu.Unlock()
	failure, answers := decide(volume)
	if !answers {
		return nil
	}
	before := volume.DeepCopy()
	volume.Status.ObservedGeneration = volume.Generation
	if failure == nil {
		apimeta.RemoveStatusCondition(&volume.Status.Conditions, v1alpha1.ConditionExpansionFailed)
		volume.Status.Size = wholeBlocks(volume.Spec.Capacity)
	} else {
		failure.ObservedGeneration = volume.Generation
		apimeta.SetStatusCondition(&volume.Status.Conditions, *failure)
	}
	return s.Status().Patch(ctx, volume, client.MergeFrom(before))
}

func wholeBlocks(capacity resource.Quantity) *resource.Quantity {
	return resource.NewQuantity((capacity.Value()+blockSize-1)/blockSize*blockSize, resource.BinarySI)
}

// report writes the status of a pool on the node: it is open, has total bytes and used of them, and admits volumes.
func (s *standIn) report(pool string, total, used int64) {
	s.t.Helper()
	s.reportConditions(pool, total, used,
		metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady},
		metav1.Condition{Type: v1alpha1.ConditionAdmitting, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAdmittingVolume})
}

// reportInline writes what the inline ephemeral volumes of a pool take, and nothing else.
func (s *standIn) reportInline(pool string, bytes int64) {
	s.t.Helper()
	part := &v1alpha1.NodeThinPool{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeThinPoolName(pool, s.name)}}
	must(s.t, s.Get(context.Background(), client.ObjectKeyFromObject(part), part))
	before := part.DeepCopy()
	part.Status.InlineVolumeBytes = resource.NewQuantity(bytes, resource.BinarySI)
	must(s.t, s.Status().Patch(context.Background(), part, client.MergeFrom(before)))
}

func (s *standIn) reportConditions(pool string, total, used int64, conditions ...metav1.Condition) {
	s.t.Helper()
	part := &v1alpha1.NodeThinPool{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeThinPoolName(pool, s.name)}}
	await(s.t, "NodeThinPool "+part.Name, func(ctx context.Context) string {
		if err := s.Get(ctx, client.ObjectKeyFromObject(part), part); err != nil {
			return err.Error()
		}
		before := part.DeepCopy()
		part.Status.PoolID = "pool"
		part.Status.BlockSize = resource.NewQuantity(blockSize, resource.BinarySI)
		part.Status.Data = v1alpha1.SpaceUsage{Total: resource.NewQuantity(total, resource.BinarySI), Used: resource.NewQuantity(used, resource.BinarySI)}
		for _, condition := range conditions {
			condition.ObservedGeneration = part.Generation
			apimeta.SetStatusCondition(&part.Status.Conditions, condition)
		}
		if err := s.Status().Patch(ctx, part, client.MergeFrom(before)); err != nil {
			return err.Error()
		}
		return ""
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// uniqueName is a name that no other test of this process uses.
func uniqueName(prefix string) string {
	unique.Lock()
	defer unique.Unlock()
	unique.last++
	return fmt.Sprintf("%s-%d", prefix, unique.last)
}

var unique struct {
	sync.Mutex
	last int
}
