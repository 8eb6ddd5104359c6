package agent

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// snapshotSpec is what the engine is asked for: a volume that begins as its source is, of the source's size at that moment.
// Errors match thinpool.ErrInvalid and name the field.
func snapshotSpec(object *v1alpha1.ThinSnapshot) (thinpool.VolumeSpec, error) {
	if err := volumeid.CheckSnapshot("metadata.name", object.Name); err != nil {
		return thinpool.VolumeSpec{}, fmt.Errorf("%w: %w", thinpool.ErrInvalid, err)
	}
	if err := volumeid.Check("spec.volumeName", object.Spec.VolumeName); err != nil {
		return thinpool.VolumeSpec{}, fmt.Errorf("%w: %w", thinpool.ErrInvalid, err)
	}
	return thinpool.VolumeSpec{
		Name: volumeid.SnapshotDevice(object.Name), Source: object.Spec.VolumeName,
		Format: filesystem.Format{Type: filesystem.Type(object.Spec.FSType)},
	}, nil
}

// takenSnapshot says that the snapshot exists, which thin device it is, and what it is of. Moment and size are the registry's,
// and so the same however often they are written.
func takenSnapshot(snapshot thinpool.Volume, poolID string) *existing[*v1alpha1.ThinSnapshot] {
	return &existing[*v1alpha1.ThinSnapshot]{message: "The snapshot is taken.", fill: func(object *v1alpha1.ThinSnapshot) {
		status := &object.Status
		status.PoolID, status.ThinID = poolID, ptr.To(int64(snapshot.ThinID))
		status.CreationTime = ptr.To(metav1.NewMicroTime(snapshot.Created.Truncate(time.Microsecond)))
		status.RestoreSize = bytes(snapshot.Size)
	}}
}
