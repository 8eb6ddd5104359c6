package agent

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// volumeSpec is what the engine is asked for. Errors match thinpool.ErrInvalid and name the field.
func volumeSpec(object *v1alpha1.ThinVolume) (thinpool.VolumeSpec, error) {
	if err := volumeid.Check("metadata.name", object.Name); err != nil {
		return thinpool.VolumeSpec{}, fmt.Errorf("%w: %w", thinpool.ErrInvalid, err)
	}
	format, err := volumeFormat(&object.Spec)
	if err != nil {
		return thinpool.VolumeSpec{}, err
	}
	size, exact := object.Spec.Capacity.AsInt64()
	if !exact || size <= 0 {
		return thinpool.VolumeSpec{}, &thinpool.FieldError{Field: "spec.capacity", Value: object.Spec.Capacity.String(),
			Allowed: "a whole number of bytes greater than 0"}
	}
	source, err := sourceDevice(object.Spec.Source)
	if err != nil {
		return thinpool.VolumeSpec{}, err
	}
	return thinpool.VolumeSpec{Name: object.Name, Size: size, Format: format, Source: source}, nil
}

// volumeFormat is what the volume is to be formatted with: nothing in mode Block, and in no other.
func volumeFormat(spec *v1alpha1.ThinVolumeSpec) (filesystem.Format, error) {
	if spec.IsBlock() {
		if spec.FSType != "" {
			return filesystem.Format{}, &thinpool.FieldError{Field: "spec.fsType", Value: spec.FSType, Allowed: "nothing with volumeMode Block"}
		}
		return filesystem.Format{Options: spec.MkfsOptions}, nil
	}
	fsType, err := filesystem.ParseType(spec.FSType)
	if err != nil {
		return filesystem.Format{}, fmt.Errorf("%w: spec.fsType: %w", thinpool.ErrInvalid, err)
	}
	return filesystem.Format{Type: fsType, Options: spec.MkfsOptions}, nil
}

// sourceDevice is the name in the pool of what a volume begins as; it is empty for a volume that is formatted.
func sourceDevice(source *v1alpha1.VolumeSource) (string, error) {
	switch {
	case source == nil:
		return "", nil
	case source.SnapshotName != "" && source.VolumeName != "":
		return "", &thinpool.FieldError{Field: "spec.source", Value: source.SnapshotName + " and " + source.VolumeName, Allowed: "one of snapshotName and volumeName"}
	case source.SnapshotName != "":
		if err := volumeid.CheckSnapshot("spec.source.snapshotName", source.SnapshotName); err != nil {
			return "", fmt.Errorf("%w: %w", thinpool.ErrInvalid, err)
		}
		return volumeid.SnapshotDevice(source.SnapshotName), nil
	}
	if err := volumeid.Check("spec.source.volumeName", source.VolumeName); err != nil {
		return "", fmt.Errorf("%w: %w", thinpool.ErrInvalid, err)
	}
	return source.VolumeName, nil
}

// readyVolume says that the volume exists, which thin device it is, and why it could not grow, if it should have.
func readyVolume(object *v1alpha1.ThinVolume, volume thinpool.Volume, poolID string, notGrown error) *existing[*v1alpha1.ThinVolume] {
	text := "The thin device exists and holds its file system."
	if object.Spec.IsBlock() {
		text = "The thin device exists."
	}
	return &existing[*v1alpha1.ThinVolume]{message: text, fill: func(object *v1alpha1.ThinVolume) {
		status := &object.Status
		status.PoolID, status.ThinID = poolID, ptr.To(int64(volume.ThinID))
		if notGrown == nil {
			status.Size = bytes(volume.Size)
			meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionExpansionFailed)
			return
		}
		why, _ := reason(notGrown)
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionExpansionFailed, Status: metav1.ConditionTrue, Reason: why, Message: message(notGrown),
			ObservedGeneration: object.Generation,
		})
	}}
}
