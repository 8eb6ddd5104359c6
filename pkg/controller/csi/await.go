package csi

import (
	"context"
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// margin is the part of a call's time, at most, that is kept for taking a request back.
const margin = 3 * time.Second

// awaitReady waits until a volume's node has made it. A volume that the node refuses, or cannot make because it is not
// there, or does not make within the call's time, is withdrawn.
func (s *Service) awaitReady(ctx context.Context, r *request, volume *v1alpha1.ThinVolume) (*v1alpha1.ThinVolume, error) {
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
		if apimeta.IsStatusConditionTrue(latest.Status.Conditions, v1alpha1.ConditionReady) {
			return latest, nil
		}
		reason, err := s.hopeless(ctx, latest)
		if err != nil {
			return nil, err
		}
		if reason != nil {
			return s.withdraw(ctx, r, latest, reason)
		}
		select {
		case <-changed:
		case <-patience.C:
			return s.withdraw(ctx, r, latest, &exhaustedError{fmt.Sprintf("node %q did not make volume %q within the time of the call: %s",
				volume.Spec.NodeName, volume.Name, lastWord(latest.Status.Conditions))})
		case <-ctx.Done():
			// The caller is gone, or this replica ends; nobody has given the request up.
			return nil, ctx.Err()
		}
	}
}

// patienceOf is how long a call may wait.
func (s *Service) patienceOf(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return s.patience
	}
	left := time.Until(deadline)
	return min(s.patience, left-min(margin, left/4))
}

// hopeless says, as the answer of the call, why waiting for a volume makes no sense any more, or nil while it does.
func (s *Service) hopeless(ctx context.Context, volume *v1alpha1.ThinVolume) (error, error) {
	return s.verdict(ctx, volume.Spec.NodeName, fmt.Sprintf("volume %q", volume.Name), view.Refused(volume), volume.Status.Conditions)
}

// verdict says why waiting for a node to make something makes no sense any more, or nil while it does.
func (s *Service) verdict(ctx context.Context, node, what string, refused bool, conditions []metav1.Condition) (error, error) {
	condition := apimeta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if refused {
		message := fmt.Sprintf("node %q refused %s: %s: %s", node, what, condition.Reason, condition.Message)
		if condition.Reason == v1alpha1.ReasonInvalid {
			return &refusedError{message}, nil
		}
		return &exhaustedError{message}, nil
	}
	unavailable, err := s.view.Unavailable(ctx, node)
	if err != nil {
		return nil, err
	}
	if unavailable != "" {
		return &exhaustedError{unavailable}, nil
	}
	if condition != nil && poolBroken[condition.Reason] {
		return &exhaustedError{fmt.Sprintf("node %q cannot make %s: %s: %s", node, what, condition.Reason, condition.Message)}, nil
	}
	return nil, nil
}

// poolBroken are the reasons of a volume that is not ready because its pool needs an admin.
var poolBroken = map[string]bool{
	v1alpha1.ReasonPoolFailed:     true,
	v1alpha1.ReasonSourceChanged:  true,
	v1alpha1.ReasonSignatureFound: true,
	v1alpha1.ReasonDeviceNotFound: true,
	v1alpha1.ReasonVolumeNotFound: true,
}

// lastWord is what the node last said of a volume or snapshot.
func lastWord(conditions []metav1.Condition) string {
	condition := apimeta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if condition == nil {
		return "it has said nothing"
	}
	return condition.Reason + ": " + condition.Message
}

// awaitGone waits until a volume that is being deleted is gone. Its node must be there to give the thin device back.
func (s *Service) awaitGone(ctx context.Context, volume *v1alpha1.ThinVolume) error {
	changed, cancel := s.notifier.subscribe(keyOfVolume(volume.Name), keyOfNode(volume.Spec.NodeName))
	defer cancel()
	patience := time.NewTimer(s.patienceOf(ctx))
	defer patience.Stop()
	for {
		gone, err := isGone(ctx, s, volume)
		if gone || err != nil {
			return err
		}
		unavailable, err := s.view.Unavailable(ctx, volume.Spec.NodeName)
		if err != nil {
			return err
		}
		if unavailable != "" {
			return &exhaustedError{unavailable + fmt.Sprintf(", and volume %q is still to be deleted there", volume.Name)}
		}
		select {
		case <-changed:
		case <-patience.C:
			return &exhaustedError{fmt.Sprintf("volume %q is being deleted on node %q: %s", volume.Name, volume.Spec.NodeName, lastWord(volume.Status.Conditions))}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
