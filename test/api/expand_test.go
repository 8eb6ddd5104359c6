//go:build e2e

package api

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// expand calls ControllerExpandVolume as csi-resizer does, with the time that it gives.
func (s *scene) expand(id string, required int64, change ...func(*csi.ControllerExpandVolumeRequest)) (int64, error) {
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	request := &csi.ControllerExpandVolumeRequest{
		VolumeId: id, CapacityRange: &csi.CapacityRange{RequiredBytes: required}, VolumeCapability: s.request("", 0, nil).VolumeCapabilities[0],
	}
	for _, c := range change {
		c(request)
	}
	response, err := s.ControllerExpandVolume(ctx, request)
	if err == nil && !response.NodeExpansionRequired {
		s.Error("kubelet is not asked to grow the file system")
	}
	return response.GetCapacityBytes(), err
}

func (s *scene) mustExpand(id string, required int64) int64 {
	s.Helper()
	size, err := s.expand(id, required)
	must(s.T, err)
	return size
}

// expectSize checks what a volume is to have and has.
func (s *scene) expectSize(id string, capacity, size int64) {
	s.Helper()
	volume := s.volume(id)
	if volume.Spec.Capacity.Value() != capacity || volume.Status.Size.Value() != size {
		s.Errorf("volume %s has a capacity of %s and a size of %s, want %d and %d", id, &volume.Spec.Capacity, volume.Status.Size, capacity, size)
	}
}

// TestExpand: a volume grows in exactly two writes, counts with its new size, and answers to the same call again without any.
func TestExpand(t *testing.T) {
	s := newScene(t, 1, 10*gibibyte)
	id := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, s.nodes[0])).VolumeId
	made := len(writes(t, "thinvolumes", id))
	begin := time.Now()
	if size := s.mustExpand(id, 2*gibibyte+1); size != 2*gibibyte+blockSize {
		t.Errorf("capacity is %d, want whole blocks", size)
	}
	t.Logf("ControllerExpandVolume took %s", time.Since(begin))
	grown := writes(t, "thinvolumes", id)[made:]
	if len(grown) != 2 || grown[0].Verb != "patch" || grown[0].ObjectRef.Subresource != "" || grown[1].ObjectRef.Subresource != "status" {
		t.Errorf("writes from ControllerExpandVolume to its answer:\n%s\nwant two", describe(grown))
	}
	s.expectSize(id, 2*gibibyte+1, 2*gibibyte+blockSize)
	s.awaitCapacity(s.nodes[0], 8*gibibyte-blockSize)
	for _, asked := range []int64{2*gibibyte + 1, 2*gibibyte + blockSize} {
		if size := s.mustExpand(id, asked); size != 2*gibibyte+blockSize {
			t.Errorf("again, capacity is %d", size)
		}
	}
	if more := writes(t, "thinvolumes", id)[made+2:]; len(more) > 0 {
		t.Errorf("writes of repeated calls:\n%s", describe(more))
	}
	// The request that made it is still answered with it.
	if again := s.mustCreate(s.request(s.volume(id).Spec.Claim.Name[len("claim-"):], gibibyte, s.nodes[0])); again.CapacityBytes != 2*gibibyte+blockSize {
		t.Errorf("repeated, the request gave %d bytes", again.CapacityBytes)
	}
}

// TestExpandRefusals: what cannot be is refused, with the headroom where that is the reason, by codes that let csi-resizer give the
// claim's owner another try; and nothing is written.
func TestExpandRefusals(t *testing.T) {
	s := newScene(t, 1, 10*gibibyte)
	node := s.nodes[0]
	id := s.mustCreate(s.request(uniqueName("pvc"), 2*gibibyte, node)).VolumeId
	s.mustCreate(s.request(uniqueName("pvc"), 3*gibibyte, node))
	s.awaitCapacity(node, 5*gibibyte)
	made := len(writes(t, "thinvolumes", ""))
	for name, bad := range map[string]struct {
		change func(*csi.ControllerExpandVolumeRequest)
		code   codes.Code
		words  []string
	}{
		"no volume":        {func(r *csi.ControllerExpandVolumeRequest) { r.VolumeId = "" }, codes.InvalidArgument, []string{"volume_id"}},
		"unknown volume":   {func(r *csi.ControllerExpandVolumeRequest) { r.VolumeId = "pvc-unknown" }, codes.NotFound, []string{"pvc-unknown"}},
		"hostile volume":   {func(r *csi.ControllerExpandVolumeRequest) { r.VolumeId = "../../etc/passwd" }, codes.NotFound, []string{"volume_id"}},
		"no size":          {func(r *csi.ControllerExpandVolumeRequest) { r.CapacityRange = nil }, codes.InvalidArgument, []string{"capacity_range.required_bytes"}},
		"negative size":    {func(r *csi.ControllerExpandVolumeRequest) { r.CapacityRange.RequiredBytes = -1 }, codes.InvalidArgument, []string{"capacity_range.required_bytes", "-1"}},
		"negative limit":   {func(r *csi.ControllerExpandVolumeRequest) { r.CapacityRange.LimitBytes = -1 }, codes.InvalidArgument, []string{"capacity_range.limit_bytes", "-1"}},
		"limit below size": {func(r *csi.ControllerExpandVolumeRequest) { r.CapacityRange.LimitBytes = 5 }, codes.InvalidArgument, []string{"capacity_range.limit_bytes", "5"}},
		"limit in a block": {func(r *csi.ControllerExpandVolumeRequest) {
			r.CapacityRange = &csi.CapacityRange{RequiredBytes: 3*gibibyte + 1, LimitBytes: 3*gibibyte + 2}
		}, codes.OutOfRange, []string{"capacity_range.limit_bytes", "whole blocks"}},
		"smaller": {func(r *csi.ControllerExpandVolumeRequest) { r.CapacityRange.RequiredBytes = gibibyte }, codes.OutOfRange, []string{"capacity_range.required_bytes", fmt.Sprint(2 * gibibyte), "shrink"}},
		"smaller by limit": {func(r *csi.ControllerExpandVolumeRequest) {
			r.CapacityRange = &csi.CapacityRange{LimitBytes: gibibyte}
		}, codes.OutOfRange, []string{"capacity_range.limit_bytes", fmt.Sprint(2 * gibibyte), "shrink"}},
		"beyond the headroom": {func(r *csi.ControllerExpandVolumeRequest) { r.CapacityRange.RequiredBytes = 7*gibibyte + 1 }, codes.OutOfRange,
			[]string{"capacity_range.required_bytes", fmt.Sprint(7*gibibyte + 1), "headroom for " + fmt.Sprint(5*gibibyte), s.pool, node.name, fmt.Sprint(7 * gibibyte)}},
		"more than a number holds": {func(r *csi.ControllerExpandVolumeRequest) { r.CapacityRange.RequiredBytes = 1<<63 - 1 }, codes.OutOfRange, []string{"headroom"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.expand(id, 3*gibibyte, bad.change)
			expectRefusal(t, err, bad.code, bad.words...)
		})
	}
	if more := writes(t, "thinvolumes", "")[made:]; len(more) > 0 {
		t.Errorf("refusals wrote\n%s", describe(more))
	}
	if size := s.mustExpand(id, 7*gibibyte); size != 7*gibibyte {
		t.Errorf("all of the headroom gave %d", size)
	}
	s.awaitCapacity(node, 0)
}

// TestExpandRefusedByNode: a growth that the node has no space for is taken back, so that nobody is kept from that space, and a
// smaller one goes through.
func TestExpandRefusedByNode(t *testing.T) {
	s := newScene(t, 1, 10*gibibyte)
	node := s.nodes[0]
	id := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, node)).VolumeId
	node.decideGrowth(refusesGrowth(v1alpha1.ReasonNoSpace))
	_, err := s.expand(id, 5*gibibyte)
	expectRefusal(t, err, codes.OutOfRange, "capacity_range.required_bytes", fmt.Sprint(5*gibibyte), node.name, v1alpha1.ReasonNoSpace, "the stand-in does not grow it")
	s.expectSize(id, gibibyte, gibibyte)
	s.awaitCapacity(node, 9*gibibyte)
	node.decideGrowth(grows)
	s.mustExpand(id, 2*gibibyte)
	volume := s.volume(id)
	if failed := apimeta.FindStatusCondition(volume.Status.Conditions, v1alpha1.ConditionExpansionFailed); failed != nil {
		t.Errorf("grown, it still says %+v", failed)
	}
	s.expectSize(id, 2*gibibyte, 2*gibibyte)
}

// TestExpandUnfinished: a growth that the node has not answered for, or has failed to do for now, stands: the next call, on any
// replica, waits for it, also one that asks for less.
func TestExpandUnfinished(t *testing.T) {
	s := newScene(t, 1, 10*gibibyte)
	node := s.nodes[0]
	id := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, node)).VolumeId
	short := func(required int64) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := s.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: &csi.CapacityRange{RequiredBytes: required}})
		return err
	}
	node.decideGrowth(refusesGrowth(v1alpha1.ReasonFailed))
	expectRefusal(t, short(4*gibibyte), codes.Unavailable, node.name, id, "the stand-in does not grow it")
	s.expectSize(id, 4*gibibyte, gibibyte)
	s.awaitCapacity(node, 6*gibibyte)
	if !apimeta.IsStatusConditionTrue(s.volume(id).Status.Conditions, v1alpha1.ConditionReady) {
		t.Error("a volume that did not grow is not ready")
	}
	node.decideGrowth(growsNot)
	expectRefusal(t, short(3*gibibyte), codes.Unavailable, node.name)
	s.expectSize(id, 4*gibibyte, gibibyte)
	made := len(writes(t, "thinvolumes", id))

	other := startReplica(t)
	answer := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		response, err := other.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: &csi.CapacityRange{RequiredBytes: 4 * gibibyte}})
		if err == nil && response.CapacityBytes != 4*gibibyte {
			err = fmt.Errorf("it has %d bytes", response.CapacityBytes)
		}
		answer <- err
	}()
	// What the agent does when its own retry succeeds.
	volume := s.volume(id)
	must(t, node.Status().Patch(t.Context(), volume, merge(`{"status":{"size":"4Gi","observedGeneration":2}}`)))
	must(t, <-answer)
	if more := writes(t, "thinvolumes", id)[made:]; len(more) != 1 {
		t.Errorf("writes\n%s\nwant the node's only", describe(more))
	}
}

// TestExpandWithoutNode: nothing is promised on a node that cannot act, and what was promised before stands.
func TestExpandWithoutNode(t *testing.T) {
	s := newScene(t, 1, 10*gibibyte)
	node := s.nodes[0]
	id := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, node)).VolumeId
	node.decideGrowth(growsNot)
	node.setAgentReady(false)
	s.awaitCapacity(node, 0)
	_, err := s.expand(id, 2*gibibyte)
	expectRefusal(t, err, codes.Unavailable, node.name, "not ready")
	s.expectSize(id, gibibyte, gibibyte)

	node.setAgentReady(true)
	s.awaitCapacity(node, 9*gibibyte)
	answer := make(chan error, 1)
	go func() {
		_, err := s.expand(id, 2*gibibyte)
		answer <- err
	}()
	await(t, "the capacity to be raised", func(context.Context) string {
		if capacity := s.volume(id).Spec.Capacity; capacity.Value() != 2*gibibyte { //nolint:contextcheck // it works under the test's own context
			return "it is " + capacity.String()
		}
		return ""
	})
	node.setAgentReady(false)
	expectRefusal(t, <-answer, codes.Unavailable, node.name, "not ready")
	s.expectSize(id, 2*gibibyte, gibibyte)

	must(t, suite.Delete(t.Context(), s.volume(id)))
	await(t, "the volume not to be found", func(context.Context) string {
		// Until the controller hears of the deletion, the node stands in the way.
		if _, err := s.expand(id, 2*gibibyte); status.Code(err) != codes.NotFound { //nolint:contextcheck // it works under the test's own context
			return fmt.Sprint(err)
		}
		return ""
	})
}

// TestExpandTogether: of volumes that all want the last headroom at once, as many grow as there is room for.
func TestExpandTogether(t *testing.T) {
	const count, fit = 12, 4
	s := newScene(t, 1, (count+fit)*gibibyte)
	var ids []string
	for range count {
		ids = append(ids, s.mustCreate(s.request(uniqueName("pvc"), gibibyte, s.nodes[0])).VolumeId)
	}
	var group sync.WaitGroup
	var mutex sync.Mutex
	grown := 0
	for _, id := range ids {
		group.Go(func() {
			_, err := s.expand(id, 2*gibibyte)
			mutex.Lock()
			defer mutex.Unlock()
			if err == nil {
				grown++
				return
			}
			expectRefusal(t, err, codes.OutOfRange, "headroom")
		})
	}
	group.Wait()
	if grown != fit {
		t.Errorf("%d volumes grew, want %d", grown, fit)
	}
	s.awaitCapacity(s.nodes[0], 0)
}

// TestCapacityRule: the API server lets nobody shrink a volume, and lets a growth that did not come about be taken back.
func TestCapacityRule(t *testing.T) {
	volume := volumeOn(uniqueName("node"))
	volume.Name = uniqueName("capacity")
	must(t, suite.Create(t.Context(), volume))
	t.Cleanup(func() { remove(t, volume) })
	set := func(capacity string) error {
		return suite.Patch(t.Context(), volume, merge(`{"spec":{"capacity":"`+capacity+`"}}`))
	}
	must(t, set("3Gi"))
	if err := set("2Gi"); !apierrors.IsInvalid(err) {
		t.Errorf("shrunk before it was made: %v", err)
	}
	before := volume.DeepCopy()
	size := resource.MustParse("3Gi")
	volume.Status.Size = &size
	apimeta.SetStatusCondition(&volume.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady})
	must(t, suite.Status().Patch(t.Context(), volume, client.MergeFrom(before)))
	must(t, set("9Gi"))
	must(t, set("4Gi"))
	must(t, set("3Gi"))
	if err := set("3221225471"); !apierrors.IsInvalid(err) {
		t.Errorf("shrunk below its size: %v", err)
	}
}
