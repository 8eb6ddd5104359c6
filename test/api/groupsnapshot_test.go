//go:build e2e

package api

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// group calls CreateVolumeGroupSnapshot as csi-snapshotter does.
func (s *scene) group(name string, volumes ...string) (*csi.VolumeGroupSnapshot, error) {
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	response, err := s.CreateVolumeGroupSnapshot(ctx, &csi.CreateVolumeGroupSnapshotRequest{Name: name, SourceVolumeIds: volumes, Parameters: map[string]string{
		"csi.storage.k8s.io/volumegroupsnapshot/name": name, "csi.storage.k8s.io/volumegroupsnapshot/namespace": "default",
		"csi.storage.k8s.io/volumegroupsnapshotcontent/name": "groupsnapcontent-" + name,
	}})
	return response.GetGroupSnapshot(), err
}

func (s *scene) deleteGroup(id string, snapshots ...string) error {
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	_, err := s.DeleteVolumeGroupSnapshot(ctx, &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: id, SnapshotIds: snapshots})
	return err
}

func groupNamed(name string) *v1alpha1.ThinGroupSnapshot {
	return &v1alpha1.ThinGroupSnapshot{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// TestGroupSnapshot: one object carries the group to the node, each snapshot is one to restore from, all go together.
func TestGroupSnapshot(t *testing.T) {
	s := newScene(t, 2, 10*gibibyte)
	node := s.nodes[0]
	first := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, node)).VolumeId
	second := s.mustCreate(s.request(uniqueName("pvc"), 2*gibibyte+1, node)).VolumeId
	name := uniqueName("group")
	group, err := s.group(name, second, first)
	must(t, err)
	if group.GroupSnapshotId != name || !group.ReadyToUse || len(group.Snapshots) != 2 {
		t.Fatalf("the group is %v", group)
	}
	sizes := map[string]int64{first: gibibyte, second: 2*gibibyte + blockSize}
	var ids []string
	for _, snapshot := range group.Snapshots {
		ids = append(ids, snapshot.SnapshotId)
		if snapshot.SizeBytes != sizes[snapshot.SourceVolumeId] || !snapshot.ReadyToUse || snapshot.GroupSnapshotId != name {
			t.Errorf("a snapshot of the group is %v", snapshot)
		}
		delete(sizes, snapshot.SourceVolumeId)
	}
	s.awaitCapacity(node, 10*gibibyte-2*(3*gibibyte+blockSize))
	for kind, object := range map[string]string{"thingroupsnapshots": name, "thinsnapshots": ids[0]} {
		if made := writes(t, kind, object); len(made) != 2 || made[0].Verb != "create" || made[1].ObjectRef.Subresource != "status" {
			t.Errorf("writes of %s:\n%s\nwant two", object, describe(made))
		}
	}
	must(t, s.delete(first))
	again, err := s.group(name, first, second)
	if err != nil || !proto.Equal(again, group) {
		t.Errorf("asked for again the group is %v, %v; it was %v", again, err, group)
	}
	got, err := s.GetVolumeGroupSnapshot(t.Context(), &csi.GetVolumeGroupSnapshotRequest{GroupSnapshotId: name, SnapshotIds: ids})
	if err != nil || !proto.Equal(got.GroupSnapshot, group) {
		t.Errorf("GetVolumeGroupSnapshot: %v, %v", got, err)
	}
	_, err = s.group(name, second)
	expectRefusal(t, err, codes.AlreadyExists, name, first, second)
	if restored := s.mustCreate(s.requestFrom(fromSnapshot(ids[0]), 3*gibibyte, s.nodes[1])); s.volume(restored.VolumeId).Spec.NodeName != node.name {
		t.Errorf("%v is not where the group is", restored)
	}
	expectRefusal(t, s.deleteSnapshot(ids[0]), codes.InvalidArgument, "snapshot_id", ids[0], name)
	expectRefusal(t, s.deleteGroup(name, ids[0], "other"), codes.InvalidArgument, "snapshot_ids[1]", "other")
	expectRefusal(t, s.deleteGroup(name, ids[0]), codes.InvalidArgument, "snapshot_ids")
	must(t, s.deleteGroup(name, ids...))
	if exists(t, groupNamed(name)) || exists(t, snapshotNamed(ids[0])) || exists(t, snapshotNamed(ids[1])) {
		t.Error("DeleteVolumeGroupSnapshot came back before all of the group was gone")
	}
	must(t, s.deleteGroup(name, ids...))
	_, err = s.GetVolumeGroupSnapshot(t.Context(), &csi.GetVolumeGroupSnapshotRequest{GroupSnapshotId: name})
	expectRefusal(t, err, codes.NotFound, "group_snapshot_id", name)
}

// TestGroupSnapshotRefusals: volumes on two nodes or in two pools, and what else cannot be a group, are refused by a message that
// says why, and leave nothing.
func TestGroupSnapshotRefusals(t *testing.T) {
	s, other := newScene(t, 2, 10*gibibyte), newScene(t, 1, 10*gibibyte)
	here := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, s.nodes[0])).VolumeId
	large := s.mustCreate(s.request(uniqueName("pvc"), 8*gibibyte, s.nodes[0])).VolumeId
	there := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, s.nodes[1])).VolumeId
	elsewhere := other.mustCreate(other.request(uniqueName("pvc"), gibibyte, other.nodes[0])).VolumeId
	refuse := func(what string, volumes []string, code codes.Code, words ...string) {
		t.Helper()
		name := uniqueName("group")
		_, err := s.group(name, volumes...)
		t.Run(what, func(t *testing.T) { expectRefusal(t, err, code, words...) })
		awaitGone(t, groupNamed(name))
	}
	refuse("two nodes", []string{here, there}, codes.FailedPrecondition, s.nodes[0].name, s.nodes[1].name, "one pool on one node")
	refuse("two pools", []string{here, elsewhere}, codes.FailedPrecondition, s.pool, other.pool)
	refuse("none", nil, codes.InvalidArgument, "source_volume_ids", "1 to 32")
	refuse("too many", slices.Repeat([]string{here}, 33), codes.InvalidArgument, "source_volume_ids", "33")
	refuse("one twice", []string{here, here}, codes.InvalidArgument, "source_volume_ids[1]")
	refuse("hostile", []string{here, "../etc"}, codes.InvalidArgument, "source_volume_ids[1]", "../etc")
	refuse("missing", []string{here, "missing"}, codes.NotFound, "missing")
	refuse("no room", []string{here, large}, codes.FailedPrecondition, s.nodes[0].name, fmt.Sprint(9*gibibyte), fmt.Sprint(gibibyte))
	s.nodes[0].decideOnSnapshots(refuses(v1alpha1.ReasonNoSpace)(nil))
	refuse("node refuses", []string{here}, codes.FailedPrecondition, s.nodes[0].name, "NoSpace")
	_, err := s.CreateVolumeGroupSnapshot(t.Context(), &csi.CreateVolumeGroupSnapshotRequest{
		Name: "bad", SourceVolumeIds: []string{here}, Parameters: map[string]string{"colour": "blue"},
	})
	expectRefusal(t, err, codes.InvalidArgument, "colour")
	expectRefusal(t, s.deleteGroup(""), codes.InvalidArgument, "group_snapshot_id")
	must(t, s.deleteGroup("../etc"))
}
