package agent

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
)

// sayReady writes, in one go, that what the object stands for exists, and what there is to say of it.
func (r *reconciler[T]) sayReady(ctx context.Context, object T, found *existing[T]) error {
	return r.say(ctx, object, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, Message: found.message,
	}, found.fill)
}

func (r *reconciler[T]) sayFailed(ctx context.Context, object T, err error) error {
	why, _ := reason(err)
	return r.say(ctx, object, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: why, Message: message(err),
	}, func(T) {})
}

// sayNotReady says of what was not made yet that its pool is not open. As long as opening has not been tried to its end there
// is nothing to say, and what was made is not touched: a pool may hold thousands.
func (r *reconciler[T]) sayNotReady(ctx context.Context, object T, about about, err error) error {
	if about.made || beingOpened(err) {
		return nil
	}
	return r.sayFailed(ctx, object, err)
}

// beingOpened tells of an error that is about a pool that is being opened: whether that works is not known yet.
func beingOpened(err error) bool {
	var notOpen *pools.NotOpenError
	return errors.As(err, &notOpen) && notOpen.Cause == nil
}

// say patches the status with a condition and more, if that changes anything.
func (r *reconciler[T]) say(ctx context.Context, object T, condition metav1.Condition, fill func(T)) error {
	before := object.DeepCopy()
	fill(object)
	about := r.kind.about(object)
	*about.observedGeneration = object.GetGeneration()
	condition.ObservedGeneration = object.GetGeneration()
	meta.SetStatusCondition(about.conditions, condition)
	if equality.Semantic.DeepEqual(before, object) {
		return nil
	}
	if err := r.client.Status().Patch(ctx, object, client.MergeFrom(before)); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("write status of %s: %w", object.GetName(), err))
	}
	return nil
}
