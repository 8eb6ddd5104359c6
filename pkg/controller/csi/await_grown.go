package csi

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// errTakenBack: a capacity that another call had raised further was refused by the node and taken back.
var errTakenBack = errors.New("capacity was taken back")

// awaitGrown waits until a volume's node has made its thin device as large as its capacity. A capacity that the node refuses is
// taken back. One that it does not answer for, for whatever reason, stays: a later call goes on waiting.
func (s *Service) awaitGrown(ctx context.Context, volume *v1alpha1.ThinVolume, size sizeRange) (*v1alpha1.ThinVolume, error) {
	changed, cancel := s.notifier.subscribe(keyOfVolume(volume.Name), keyOfNode(volume.Spec.NodeName))
	defer cancel()
	patience := time.NewTimer(s.patienceOf(ctx))
	defer patience.Stop()
	observer := observerOf(s, volume)
	for {
		latest, err := observer.look(ctx)
		if err != nil {
			return nil, err
		}
		if has := latest.Status.Size; has != nil && has.Value() >= size.required {
			return latest, nil
		}
		// The caches may still show the volume as it was before.
		if latest.Generation >= volume.Generation {
			if failure := refusedGrowth(latest); failure != nil {
				return nil, s.takeBack(ctx, latest, size, failure)
			}
		}
		unavailable, err := s.view.Unavailable(ctx, volume.Spec.NodeName)
		if err != nil {
			return nil, err
		}
		if unavailable != "" {
			return nil, &unfinishedError{fmt.Sprintf("volume %q is to grow to %d bytes: %s", volume.Name, size.required, unavailable)}
		}
		select {
		case <-changed:
		case <-patience.C:
			return nil, &unfinishedError{fmt.Sprintf("node %q did not grow volume %q within the time of the call: %s",
				volume.Spec.NodeName, volume.Name, lastWordOnGrowth(latest))}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// refusedGrowth is the node's word, if it said so, that it will not make a volume as large as its capacity is now.
func refusedGrowth(volume *v1alpha1.ThinVolume) *metav1.Condition {
	condition := growthFailure(volume)
	if condition == nil || volume.Status.Size == nil {
		return nil
	}
	switch condition.Reason {
	case v1alpha1.ReasonNoSpace, v1alpha1.ReasonInvalid:
		return condition
	}
	return nil
}

// growthFailure is what the node said of its last attempt to give a volume its present capacity, if that failed.
func growthFailure(volume *v1alpha1.ThinVolume) *metav1.Condition {
	condition := apimeta.FindStatusCondition(volume.Status.Conditions, v1alpha1.ConditionExpansionFailed)
	if condition == nil || condition.Status != metav1.ConditionTrue || condition.ObservedGeneration < volume.Generation {
		return nil
	}
	return condition
}

func lastWordOnGrowth(volume *v1alpha1.ThinVolume) string {
	if condition := growthFailure(volume); condition != nil {
		return condition.Reason + ": " + condition.Message
	}
	return lastWord(volume.Status.Conditions)
}

// takeBack lowers a volume's capacity to what its thin device has, in exactly the state in which its node refused more, and
// gives the refusal. Otherwise the pool would go on promising what it does not have.
func (s *Service) takeBack(ctx context.Context, volume *v1alpha1.ThinVolume, size sizeRange, failure *metav1.Condition) error {
	// The caller's end must not leave it undone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawal)
	defer cancel()
	has, asked := volume.Status.Size, volume.Spec.Capacity.Value()
	klog.FromContext(ctx).Info("Taking back a volume's growth", "reason", failure.Reason, "capacity", asked, "size", has.Value())
	lowered := volume.DeepCopy()
	lowered.Spec.Capacity = *has
	err := s.client.Patch(ctx, lowered, client.MergeFromWithOptions(volume, client.MergeFromWithOptimisticLock{}))
	switch {
	case apierrors.IsNotFound(err):
		return errGone
	case apierrors.IsConflict(err), err == nil && asked > size.required:
		return errTakenBack
	case err != nil:
		return err
	}
	return &rangeError{fieldError{"capacity_range.required_bytes", asked,
		fmt.Sprintf("node %q refused it for volume %q, which has %d bytes: %s: %s", volume.Spec.NodeName, volume.Name, has.Value(), failure.Reason, failure.Message)}}
}
