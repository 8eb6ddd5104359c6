package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
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

// sayTaken writes, in one go, that the snapshot exists, which thin device it is, and what it is of. Moment and size are the
// registry's, and so the same however often they are written.
func (r *snapshotReconciler) sayTaken(ctx context.Context, object *v1alpha1.ThinSnapshot, snapshot thinpool.Volume, poolID string) error {
	return r.say(ctx, object, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady,
		Message: "The snapshot is taken.",
	}, func(status *v1alpha1.ThinSnapshotStatus) {
		status.PoolID = poolID
		status.ThinID = ptr.To(int64(snapshot.ThinID))
		status.CreationTime = ptr.To(metav1.NewMicroTime(snapshot.Created.Truncate(time.Microsecond)))
		status.RestoreSize = bytes(snapshot.Size)
	})
}

func (r *snapshotReconciler) sayFailed(ctx context.Context, object *v1alpha1.ThinSnapshot, err error) error {
	why, _ := reason(err)
	return r.say(ctx, object, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: why, Message: message(err),
	}, func(*v1alpha1.ThinSnapshotStatus) {})
}

// sayNotReady says of a snapshot that was not taken yet that its pool is not open, once opening was tried to its end.
func (r *snapshotReconciler) sayNotReady(ctx context.Context, object *v1alpha1.ThinSnapshot, err error) error {
	var notOpen *pools.NotOpenError
	if object.Status.ThinID != nil || !errors.As(err, &notOpen) || notOpen.Cause == nil {
		return nil
	}
	return r.sayFailed(ctx, object, err)
}

// say patches the status with a condition and more, if that changes anything.
func (r *snapshotReconciler) say(ctx context.Context, object *v1alpha1.ThinSnapshot, condition metav1.Condition, fill func(*v1alpha1.ThinSnapshotStatus)) error {
	wanted := object.Status.DeepCopy()
	fill(wanted)
	wanted.ObservedGeneration = object.Generation
	condition.ObservedGeneration = object.Generation
	meta.SetStatusCondition(&wanted.Conditions, condition)
	if equality.Semantic.DeepEqual(&object.Status, wanted) {
		return nil
	}
	patch := client.MergeFrom(object.DeepCopy())
	object.Status = *wanted
	if err := r.client.Status().Patch(ctx, object, patch); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("write status of %s: %w", object.Name, err))
	}
	return nil
}
