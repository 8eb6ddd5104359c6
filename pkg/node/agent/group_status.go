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
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// sayTaken writes, in one go, that the group is taken, when, and how long I/O was held back for it.
func (r *groupReconciler) sayTaken(ctx context.Context, object *v1alpha1.ThinGroupSnapshot, group thinpool.Group) error {
	return r.say(ctx, object, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady,
		Message: "All snapshots of the group are taken.",
	}, func(status *v1alpha1.ThinGroupSnapshotStatus) {
		status.CreationTime = ptr.To(metav1.NewMicroTime(group.Volumes[0].Created.Truncate(time.Microsecond)))
		if group.Held > 0 {
			status.LongestFreeze = &metav1.Duration{Duration: group.Held.Round(time.Microsecond)}
		}
	})
}

func (r *groupReconciler) sayFailed(ctx context.Context, object *v1alpha1.ThinGroupSnapshot, err error) error {
	why, _ := reason(err)
	return r.say(ctx, object, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: why, Message: message(err),
	}, func(*v1alpha1.ThinGroupSnapshotStatus) {})
}

// sayNotReady says of a group that was not taken yet that its pool is not open, once opening was tried to its end.
func (r *groupReconciler) sayNotReady(ctx context.Context, object *v1alpha1.ThinGroupSnapshot, err error) error {
	var notOpen *pools.NotOpenError
	if object.Status.CreationTime != nil || !errors.As(err, &notOpen) || notOpen.Cause == nil {
		return nil
	}
	return r.sayFailed(ctx, object, err)
}

// say patches the status with a condition and more, if that changes anything.
func (r *groupReconciler) say(ctx context.Context, object *v1alpha1.ThinGroupSnapshot, condition metav1.Condition, fill func(*v1alpha1.ThinGroupSnapshotStatus)) error {
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
