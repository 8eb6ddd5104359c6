package csi

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// errGone: the volume that a call waits for was deleted.
var errGone = errors.New("volume was deleted")

// margin is the part of a call's time, at most, that is kept for taking a request back.
const margin = 3 * time.Second

// awaitReady waits until a volume's node has made it. A volume that the node refuses, or cannot make because it is not
// there, or does not make within the call's time, is withdrawn.
func (s *Service) awaitReady(ctx context.Context, r *request, volume *v1alpha1.ThinVolume) (*v1alpha1.ThinVolume, error) {
	changed, cancel := s.notifier.subscribe(keyOfVolume(volume.Name), keyOfNode(volume.Spec.NodeName))
	defer cancel()
	patience := time.NewTimer(s.patienceOf(ctx))
	defer patience.Stop()
	observer := observer{service: s, volume: volume}
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
				volume.Spec.NodeName, volume.Name, lastWord(latest))})
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
	if view.Refused(volume) {
		condition := apimeta.FindStatusCondition(volume.Status.Conditions, v1alpha1.ConditionReady)
		message := fmt.Sprintf("node %q refused volume %q: %s: %s", volume.Spec.NodeName, volume.Name, condition.Reason, condition.Message)
		if condition.Reason == v1alpha1.ReasonInvalid {
			return &refusedError{message}, nil
		}
		return &exhaustedError{message}, nil
	}
	unavailable, err := s.view.Unavailable(ctx, volume.Spec.NodeName)
	if err != nil {
		return nil, err
	}
	if unavailable != "" {
		return &exhaustedError{unavailable}, nil
	}
	if condition := apimeta.FindStatusCondition(volume.Status.Conditions, v1alpha1.ConditionReady); condition != nil && poolBroken[condition.Reason] {
		return &exhaustedError{fmt.Sprintf("node %q cannot make volume %q: %s: %s", volume.Spec.NodeName, volume.Name, condition.Reason, condition.Message)}, nil
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

// lastWord is what the node last said of a volume.
func lastWord(volume *v1alpha1.ThinVolume) string {
	condition := apimeta.FindStatusCondition(volume.Status.Conditions, v1alpha1.ConditionReady)
	if condition == nil {
		return "it has said nothing"
	}
	return condition.Reason + ": " + condition.Message
}

// observer follows one volume in the caches.
type observer struct {
	service *Service
	// volume is its newest known state.
	volume *v1alpha1.ThinVolume
	looked bool
	seen   bool
}

// look gives the newest state of the volume, or errGone. The caches show a volume a moment after it was written; absent and
// never seen means that it is not there yet, or was there between two looks, and then the API server is asked.
func (o *observer) look(ctx context.Context) (*v1alpha1.ThinVolume, error) {
	latest := new(v1alpha1.ThinVolume)
	err := o.service.client.Get(ctx, client.ObjectKeyFromObject(o.volume), latest)
	switch {
	case err == nil && latest.UID == o.volume.UID:
		o.seen = true
		o.volume = latest
	case err != nil && !apierrors.IsNotFound(err):
		return nil, err
	case o.seen:
		return nil, errGone
	case o.looked:
		klog.FromContext(ctx).V(4).Info("Cache does not show the volume, asking the API server")
		err := o.service.live.Get(ctx, client.ObjectKeyFromObject(o.volume), latest)
		if apierrors.IsNotFound(err) || (err == nil && latest.UID != o.volume.UID) {
			return nil, errGone
		}
		if err != nil {
			return nil, err
		}
		o.volume = latest
	}
	o.looked = true
	if o.volume.DeletionTimestamp != nil {
		return nil, errGone
	}
	return o.volume, nil
}

// awaitGone waits until a volume that is being deleted is gone. Its node must be there to give the thin device back.
func (s *Service) awaitGone(ctx context.Context, volume *v1alpha1.ThinVolume) error {
	changed, cancel := s.notifier.subscribe(keyOfVolume(volume.Name), keyOfNode(volume.Spec.NodeName))
	defer cancel()
	patience := time.NewTimer(s.patienceOf(ctx))
	defer patience.Stop()
	for {
		gone, err := s.gone(ctx, volume)
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
			return &exhaustedError{fmt.Sprintf("volume %q is being deleted on node %q: %s", volume.Name, volume.Spec.NodeName, lastWord(volume))}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gone asks the API server where the cache shows no volume.
func (s *Service) gone(ctx context.Context, volume *v1alpha1.ThinVolume) (bool, error) {
	for _, reader := range []client.Reader{s.client, s.live} {
		var latest v1alpha1.ThinVolume
		err := reader.Get(ctx, client.ObjectKeyFromObject(volume), &latest)
		if err == nil && latest.UID == volume.UID {
			return false, nil
		}
		if client.IgnoreNotFound(err) != nil {
			return false, err
		}
	}
	return true, nil
}
