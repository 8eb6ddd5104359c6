package csi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/timestamppb"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
	"github.com/csi-dm/csi-dm/pkg/parameters"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

const (
	// maximumGroup is how many volumes a group may have: as many as the ThinGroupSnapshot's validation lets through.
	maximumGroup = 32
	// memberDigits is how much of a volume's hash the name of its snapshot in a group carries, in hex digits.
	memberDigits = 16
)

// groupRequest is a CreateVolumeGroupSnapshot request that was found acceptable as far as it can be without looking at the
// cluster.
type groupRequest struct {
	// name is the ThinGroupSnapshot's.
	name string
	// volumes are the sources' handles, sorted.
	volumes []string
}

func readGroupRequest(req *csi.CreateVolumeGroupSnapshotRequest) (groupRequest, error) {
	name, err := requestName(req.GetName())
	if err != nil {
		return groupRequest{}, err
	}
	if count := len(req.GetSourceVolumeIds()); count == 0 || count > maximumGroup {
		return groupRequest{}, &fieldError{"source_volume_ids", count, fmt.Sprintf("the handles of 1 to %d volumes", maximumGroup)}
	}
	for i, id := range req.GetSourceVolumeIds() {
		field := fmt.Sprintf("source_volume_ids[%d]", i)
		if err := volumeid.Check(field, id); err != nil {
			return groupRequest{}, err
		}
		if slices.Contains(req.GetSourceVolumeIds()[:i], id) {
			return groupRequest{}, &fieldError{field, id, "a volume that is in the list once"}
		}
	}
	return groupRequest{name: name, volumes: slices.Sorted(slices.Values(req.GetSourceVolumeIds()))}, parameters.ParseSnapshotClass(req.GetParameters())
}

// memberName is the name of the snapshot of a volume in a group.
func memberName(group, volume string) string {
	if len(group) > volumeid.MaximumSnapshotLength-1-memberDigits {
		group = hashOf(group, 40)
	}
	return group + "-" + hashOf(volume, memberDigits)
}

func hashOf(text string, digits int) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:digits]
}

// groupOf is the object that a group of snapshots becomes. The volumes are of one pool and one node.
func groupOf(volumes []*v1alpha1.ThinVolume, name string) *v1alpha1.ThinGroupSnapshot {
	first := volumes[0].Spec
	group := &v1alpha1.ThinGroupSnapshot{
		ObjectMeta: metav1.ObjectMeta{
			Name:       name,
			Labels:     map[string]string{v1alpha1.LabelPool: first.PoolName, v1alpha1.LabelNode: v1alpha1.TopologyValue(first.NodeName)},
			Finalizers: []string{v1alpha1.VolumeFinalizer},
		},
		Spec: v1alpha1.ThinGroupSnapshotSpec{NodeName: first.NodeName, PoolName: first.PoolName},
	}
	for _, volume := range volumes {
		group.Spec.Members = append(group.Spec.Members, v1alpha1.GroupSnapshotMember{
			VolumeName: volume.Name, SnapshotName: memberName(name, volume.Name),
			Capacity: *resource.NewQuantity(view.VolumeSize(volume, 1), resource.BinarySI), FSType: volume.Spec.FSType,
		})
	}
	return group
}

// volumesOf are the handles of a group's volumes, sorted.
func volumesOf(group *v1alpha1.ThinGroupSnapshot) []string {
	volumes := make([]string, len(group.Spec.Members))
	for i, member := range group.Spec.Members {
		volumes[i] = member.VolumeName
	}
	slices.Sort(volumes)
	return volumes
}

// checkMembers refuses a list of snapshots that is not a group's. An empty one is let pass: the group knows its snapshots.
func checkMembers(group *v1alpha1.ThinGroupSnapshot, ids []string) error {
	members := make([]string, len(group.Spec.Members))
	for i, member := range group.Spec.Members {
		members[i] = member.SnapshotName
	}
	for i, id := range ids {
		if !slices.Contains(members, id) {
			return &fieldError{fmt.Sprintf("snapshot_ids[%d]", i), id, fmt.Sprintf("a snapshot of the group snapshot %q", group.Name)}
		}
	}
	if len(ids) > 0 && len(ids) != len(members) {
		return &fieldError{"snapshot_ids", len(ids), fmt.Sprintf("all %d snapshots of the group snapshot %q", len(members), group.Name)}
	}
	return nil
}

// describeGroup is a group as CSI has it. Snapshots are in the order of the group's members.
func describeGroup(group *v1alpha1.ThinGroupSnapshot, snapshots []*v1alpha1.ThinSnapshot) *csi.VolumeGroupSnapshot {
	described := &csi.VolumeGroupSnapshot{
		GroupSnapshotId: group.Name, CreationTime: timestamppb.New(group.CreationTimestamp.Time),
		ReadyToUse: len(snapshots) == len(group.Spec.Members),
	}
	if group.Status.CreationTime != nil {
		described.CreationTime = timestamppb.New(group.Status.CreationTime.Time)
	}
	for _, snapshot := range snapshots {
		described.Snapshots = append(described.Snapshots, describe(snapshot))
		described.ReadyToUse = described.ReadyToUse && isTaken(snapshot)
	}
	return described
}
