//go:build e2e

package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// snapshot calls CreateSnapshot with the time, and the parameters, that csi-snapshotter gives it.
func (s *scene) snapshot(name, volume string) (*csi.Snapshot, error) {
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	response, err := s.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: volume, Parameters: map[string]string{
		"csi.storage.k8s.io/volumesnapshot/name": name, "csi.storage.k8s.io/volumesnapshot/namespace": "default",
		"csi.storage.k8s.io/volumesnapshotcontent/name": "snapcontent-" + name,
	}})
	return response.GetSnapshot(), err
}

func (s *scene) mustSnapshot(name, volume string) *csi.Snapshot {
	s.Helper()
	snapshot, err := s.snapshot(name, volume)
	must(s.T, err)
	return snapshot
}

func (s *scene) deleteSnapshot(id string) error {
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	_, err := s.DeleteSnapshot(ctx, &csi.DeleteSnapshotRequest{SnapshotId: id})
	return err
}

// listSnapshots follows the pages of ListSnapshots to the end.
func (s *scene) listSnapshots(request *csi.ListSnapshotsRequest) (ids []string) {
	s.Helper()
	for {
		page, err := s.ListSnapshots(s.Context(), request)
		must(s.T, err)
		if limit := int(request.MaxEntries); limit > 0 && len(page.Entries) > limit {
			s.Errorf("%d entries on a page of %d", len(page.Entries), limit)
		}
		for _, entry := range page.Entries {
			ids = append(ids, entry.Snapshot.SnapshotId)
		}
		if request.StartingToken = page.NextToken; page.NextToken == "" {
			return ids
		}
	}
}

func snapshotNamed(name string) *v1alpha1.ThinSnapshot {
	return &v1alpha1.ThinSnapshot{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// TestSnapshotAndDelete: a snapshot is taken on its volume's node and deleted, each in two writes, takes room, says the same
// however often it is asked for, and stays when its volume goes.
func TestSnapshotAndDelete(t *testing.T) {
	s := newScene(t, 2, 10*gibibyte)
	volume := s.mustCreate(s.request(uniqueName("pvc"), gibibyte+1, s.nodes[1])).VolumeId
	other := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, s.nodes[0])).VolumeId
	name := uniqueName("snapshot")
	snapshot := s.mustSnapshot(name, volume)
	if snapshot.SourceVolumeId != volume || snapshot.SizeBytes != gibibyte+blockSize || !snapshot.ReadyToUse || snapshot.CreationTime.AsTime().IsZero() {
		t.Errorf("snapshot is %v", snapshot)
	}
	s.awaitCapacity(s.nodes[1], 8*gibibyte-2*blockSize)
	if made := writes(t, "thinsnapshots", name); len(made) != 2 || made[0].Verb != "create" || made[1].ObjectRef.Subresource != "status" {
		t.Errorf("writes from CreateSnapshot to ready:\n%s\nwant two", describe(made))
	}
	object := snapshotNamed(name)
	if !exists(t, object) || object.Spec.NodeName != s.nodes[1].name || object.Spec.FSType != "ext4" || object.Spec.Claim == nil || !strings.HasPrefix(object.Spec.Claim.Name, "claim-") {
		t.Errorf("the object's spec is %+v", object.Spec)
	}
	_, err := s.snapshot(name, other)
	expectRefusal(t, err, codes.AlreadyExists, name, volume)

	must(t, s.delete(volume))
	if again := s.mustSnapshot(name, volume); !proto.Equal(again, snapshot) {
		t.Errorf("after the volume is gone the snapshot is %v, it was %v", again, snapshot)
	}
	got, err := s.GetSnapshot(t.Context(), &csi.GetSnapshotRequest{SnapshotId: name})
	if err != nil || !proto.Equal(got.Snapshot, snapshot) {
		t.Errorf("GetSnapshot: %v, %v; want %v", got, err, snapshot)
	}
	s.awaitCapacity(s.nodes[1], 9*gibibyte-blockSize)

	before := len(writes(t, "thinsnapshots", name))
	must(t, s.deleteSnapshot(name))
	if exists(t, snapshotNamed(name)) {
		t.Error("DeleteSnapshot came back before the snapshot was gone")
	}
	if deleted := writes(t, "thinsnapshots", name)[before:]; len(deleted) != 2 || deleted[0].Verb != "delete" || deleted[1].Verb != "patch" {
		t.Errorf("writes from DeleteSnapshot to gone:\n%s\nwant two", describe(deleted))
	}
	must(t, s.deleteSnapshot(name))
	must(t, s.deleteSnapshot("../../etc/passwd"))
	_, err = s.GetSnapshot(t.Context(), &csi.GetSnapshotRequest{SnapshotId: name})
	expectRefusal(t, err, codes.NotFound, "snapshot_id", name)
}

// TestListSnapshots: all of them, page by page, or those of a volume, or one; none that is not taken.
func TestListSnapshots(t *testing.T) {
	s := newScene(t, 1, 20*gibibyte)
	volume := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, s.nodes[0])).VolumeId
	other := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, s.nodes[0])).VolumeId
	var ofVolume []string
	for range 5 {
		ofVolume = append(ofVolume, s.mustSnapshot(uniqueName("snapshot"), volume).SnapshotId)
	}
	slices.Sort(ofVolume)
	single := s.mustSnapshot(uniqueName("snapshot"), other).SnapshotId
	pending := snapshotOn(s.nodes[0].name)
	pending.Name, pending.Spec.PoolName, pending.Spec.VolumeName = uniqueName("snapshot"), s.pool, volume
	s.nodes[0].decideOnSnapshots(nil)
	must(t, suite.Create(t.Context(), pending))
	for _, limit := range []int32{0, 1, 2, 5} {
		if ids := s.listSnapshots(&csi.ListSnapshotsRequest{SourceVolumeId: volume, MaxEntries: limit}); !slices.Equal(ids, ofVolume) {
			t.Errorf("with pages of %d: %q, want %q", limit, ids, ofVolume)
		}
		all := s.listSnapshots(&csi.ListSnapshotsRequest{MaxEntries: limit})
		for _, id := range append(ofVolume[:5:5], single) {
			if !slices.Contains(all, id) {
				t.Errorf("with pages of %d: %s is missing in %q", limit, id, all)
			}
		}
	}
	for id, want := range map[string]int{single: 1, "nothing": 0, "../etc": 0, pending.Name: 0} {
		if ids := s.listSnapshots(&csi.ListSnapshotsRequest{SnapshotId: id}); len(ids) != want {
			t.Errorf("snapshot_id %q: %q", id, ids)
		}
	}
	_, err := s.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{StartingToken: single})
	expectRefusal(t, err, codes.Aborted, "starting_token", single)
	if got, err := s.GetSnapshot(t.Context(), &csi.GetSnapshotRequest{SnapshotId: pending.Name}); err != nil || got.Snapshot.ReadyToUse {
		t.Errorf("GetSnapshot of one that is not taken yet: %v, %v", got, err)
	}
}

// TestBadSnapshotRequests: what is wrong with a request is named, and nothing is left of it.
func TestBadSnapshotRequests(t *testing.T) {
	s := newScene(t, 1, 4*gibibyte)
	volume := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, s.nodes[0])).VolumeId
	for name, bad := range map[string]struct {
		request *csi.CreateSnapshotRequest
		code    codes.Code
		words   []string
	}{
		"no name":         {&csi.CreateSnapshotRequest{SourceVolumeId: volume}, codes.InvalidArgument, []string{"name"}},
		"control in name": {&csi.CreateSnapshotRequest{Name: "a\nb", SourceVolumeId: volume}, codes.InvalidArgument, []string{"name", "control"}},
		"no source":       {&csi.CreateSnapshotRequest{Name: "bad-1"}, codes.InvalidArgument, []string{"source_volume_id"}},
		"hostile source":  {&csi.CreateSnapshotRequest{Name: "bad-2", SourceVolumeId: "../../etc"}, codes.InvalidArgument, []string{"source_volume_id", "../../etc"}},
		"a snapshot":      {&csi.CreateSnapshotRequest{Name: "bad-3", SourceVolumeId: "x.snapshot"}, codes.InvalidArgument, []string{"source_volume_id", ".snapshot"}},
		"unknown source":  {&csi.CreateSnapshotRequest{Name: "bad-4", SourceVolumeId: "missing"}, codes.NotFound, []string{"source_volume_id", "missing"}},
		"a class's key":   {&csi.CreateSnapshotRequest{Name: "bad-5", SourceVolumeId: volume, Parameters: map[string]string{"csi-dm.io/pool": "x"}}, codes.InvalidArgument, []string{"csi-dm.io/pool", "none is allowed"}},
		"unknown key":     {&csi.CreateSnapshotRequest{Name: "bad-6", SourceVolumeId: volume, Parameters: map[string]string{"colour": "x"}}, codes.InvalidArgument, []string{"colour"}},
	} {
		_, err := s.CreateSnapshot(t.Context(), bad.request)
		t.Run(name, func(t *testing.T) { expectRefusal(t, err, bad.code, bad.words...) })
	}
	expectRefusal(t, s.deleteSnapshot(""), codes.InvalidArgument, "snapshot_id")
	_, err := s.GetSnapshot(t.Context(), &csi.GetSnapshotRequest{SnapshotId: "a\x00b"})
	expectRefusal(t, err, codes.InvalidArgument, "snapshot_id")
	_, err = s.GetSnapshot(t.Context(), &csi.GetSnapshotRequest{})
	expectRefusal(t, err, codes.InvalidArgument, "snapshot_id")
	if left := s.listSnapshots(&csi.ListSnapshotsRequest{SourceVolumeId: volume}); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// TestSnapshotThatCannotBeTaken: the refusal says why, with a code after which csi-snapshotter lets the VolumeSnapshot be deleted,
// and takes the object back; except where the snapshot was taken once.
func TestSnapshotThatCannotBeTaken(t *testing.T) {
	s := newScene(t, 1, 4*gibibyte)
	node := s.nodes[0]
	volume := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, node)).VolumeId
	refuse := func(what string, code codes.Code, words ...string) {
		t.Helper()
		name := uniqueName("snapshot")
		_, err := s.snapshot(name, volume)
		t.Run(what, func(t *testing.T) { expectRefusal(t, err, code, words...) })
		awaitGone(t, snapshotNamed(name))
	}
	for _, reason := range []string{v1alpha1.ReasonNoSpace, v1alpha1.ReasonWritesLost, v1alpha1.ReasonPoolFailed, v1alpha1.ReasonVolumeNotFound} {
		condition := refuses(reason)(nil)
		node.decideOnSnapshots(condition)
		refuse(reason, codes.FailedPrecondition, node.name, reason, condition.Message)
	}
	node.decideOnSnapshots(refuses(v1alpha1.ReasonInvalid)(nil))
	refuse("Invalid", codes.InvalidArgument, "Invalid")

	node.decideOnSnapshots(takes())
	taken := s.mustSnapshot(uniqueName("snapshot"), volume)
	s.mustCreate(s.request(uniqueName("pvc"), gibibyte+1, node))
	refuse("no room", codes.FailedPrecondition, node.name, s.pool, fmt.Sprint(gibibyte), fmt.Sprint(gibibyte-blockSize))

	node.setAgentReady(false)
	s.awaitCapacity(node, 0)
	refuse("no agent", codes.FailedPrecondition, node.name)
	if again := s.mustSnapshot(taken.SnapshotId, volume); !proto.Equal(again, taken) {
		t.Errorf("a snapshot that was taken is %v without the agent, it was %v", again, taken)
	}
	node.decideOnSnapshots(nil) // the stand-in would give the condition back
	must(t, node.Status().Patch(t.Context(), snapshotNamed(taken.SnapshotId), merge(`{"status":{"conditions":[]}}`)))
	var err error
	await(t, "a controller that has seen the condition go", func(context.Context) string {
		if _, err = s.snapshot(taken.SnapshotId, volume); err == nil { //nolint:contextcheck // it works under the test's own context
			return "the snapshot is answered as it was"
		}
		return ""
	})
	expectRefusal(t, err, codes.Unavailable, taken.SnapshotId, "was taken")
	if !exists(t, snapshotNamed(taken.SnapshotId)) {
		t.Error("a snapshot that was taken once was withdrawn")
	}
}

// TestSnapshotOutlivesNode: a deleted snapshot of a node that is gone for good is released, and a pool that is being deleted
// waits for its snapshots until then.
func TestSnapshotOutlivesNode(t *testing.T) {
	s := newScene(t, 1, 4*gibibyte)
	volume := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, s.nodes[0])).VolumeId
	name := uniqueName("snapshot")
	s.mustSnapshot(name, volume)
	must(t, s.delete(volume))
	s.nodes[0].keep(true)
	pool := &v1alpha1.ThinPool{ObjectMeta: metav1.ObjectMeta{Name: s.pool}}
	must(t, suite.Delete(t.Context(), pool))
	awaitState(t, pool, "waiting for the snapshot", func() string {
		for _, condition := range pool.Status.Conditions {
			if condition.Type == v1alpha1.ConditionDeleting && strings.Contains(condition.Message, "snapshot: "+name) {
				return ""
			}
		}
		return fmt.Sprintf("conditions are %+v", pool.Status.Conditions)
	})
	must(t, suite.Delete(t.Context(), snapshotNamed(name)))
	must(t, suite.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.nodes[0].name}}))
	awaitGone(t, snapshotNamed(name))
	awaitGone(t, pool)
}
