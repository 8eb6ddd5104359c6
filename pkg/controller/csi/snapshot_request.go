package csi

import (
	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/timestamppb"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
	"github.com/csi-dm/csi-dm/pkg/parameters"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// snapshotRequest is a CreateSnapshot request that was found acceptable as far as it can be without looking at the cluster.
type snapshotRequest struct {
	// name is the ThinSnapshot's: it follows from the request alone, so that one name never stands for snapshots of two volumes.
	name string
	// volume is the source's handle.
	volume string
}

func readSnapshotRequest(req *csi.CreateSnapshotRequest) (snapshotRequest, error) {
	name, err := requestName(req.GetName())
	if err != nil {
		return snapshotRequest{}, err
	}
	if req.GetSourceVolumeId() == "" {
		return snapshotRequest{}, &fieldError{"source_volume_id", "", "the handle of a volume"}
	}
	if err := volumeid.Check("source_volume_id", req.GetSourceVolumeId()); err != nil {
		return snapshotRequest{}, err
	}
	return snapshotRequest{name: name, volume: req.GetSourceVolumeId()}, parameters.ParseSnapshotClass(req.GetParameters())
}

// snapshotOf is the object that a snapshot of a volume becomes.
func snapshotOf(volume *v1alpha1.ThinVolume, name string) *v1alpha1.ThinSnapshot {
	return &v1alpha1.ThinSnapshot{
		ObjectMeta: metav1.ObjectMeta{
			Name:       name,
			Labels:     map[string]string{v1alpha1.LabelPool: volume.Spec.PoolName, v1alpha1.LabelNode: v1alpha1.TopologyValue(volume.Spec.NodeName)},
			Finalizers: []string{v1alpha1.VolumeFinalizer},
		},
		Spec: v1alpha1.ThinSnapshotSpec{
			NodeName:   volume.Spec.NodeName,
			PoolName:   volume.Spec.PoolName,
			VolumeName: volume.Name,
			Capacity:   *resource.NewQuantity(view.VolumeSize(volume, 1), resource.BinarySI),
			FSType:     volume.Spec.FSType,
			Claim:      volume.Spec.Claim.DeepCopy(),
		},
	}
}

// describe is a snapshot as CSI has it. All of it stands in the object, so that every call says the same.
func describe(snapshot *v1alpha1.ThinSnapshot) *csi.Snapshot {
	when := timestamppb.New(snapshot.CreationTimestamp.Time)
	if snapshot.Status.CreationTime != nil {
		when = timestamppb.New(snapshot.Status.CreationTime.Time)
	}
	return &csi.Snapshot{
		SnapshotId:     snapshot.Name,
		SourceVolumeId: snapshot.Spec.VolumeName,
		SizeBytes:      view.SnapshotSize(snapshot, 1),
		CreationTime:   when,
		// It cannot be deleted alone.
		GroupSnapshotId: snapshot.Spec.GroupName,
		ReadyToUse:      isTaken(snapshot),
	}
}

// isTaken tells whether a snapshot was taken and can be made a volume of.
func isTaken(snapshot *v1alpha1.ThinSnapshot) bool {
	return apimeta.IsStatusConditionTrue(snapshot.Status.Conditions, v1alpha1.ConditionReady)
}
