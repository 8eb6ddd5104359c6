package csi

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// withdrawal is the longest that taking a request back may take beyond its call.
const withdrawal = 5 * time.Second

// withdraw takes a volume back and gives the refusal, or the volume if its node has made it in the meantime. It deletes
// the volume only in the state on which the refusal rests.
func (s *Service) withdraw(ctx context.Context, r *request, volume *v1alpha1.ThinVolume, refusal error) (*v1alpha1.ThinVolume, error) {
	// The caller's end must not leave it undone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawal)
	defer cancel()
	if volume.Status.ThinID != nil {
		// The node has made it once; the caller may have it, and have forgotten.
		bound, err := s.bound(ctx, r, volume.Name)
		if err != nil {
			return nil, err
		}
		if bound != "" {
			return nil, &inUseError{fmt.Sprintf("volume %q is not ready, and PersistentVolume %q uses it: %s", volume.Name, bound, refusal)}
		}
	}
	klog.FromContext(ctx).Info("Withdrawing volume", "reason", refusal)
	refusal = s.published(ctx, volume.Spec.PoolName, volume.Spec.NodeName, refusal)
	for {
		err := s.remove(ctx, volume)
		if err == nil {
			return nil, refusal
		}
		if !apierrors.IsConflict(err) {
			return nil, err
		}
		latest := new(v1alpha1.ThinVolume)
		if err := s.live.Get(ctx, client.ObjectKeyFromObject(volume), latest); apierrors.IsNotFound(err) {
			return nil, refusal
		} else if err != nil {
			return nil, err
		}
		if latest.UID != volume.UID || latest.DeletionTimestamp != nil {
			return nil, refusal
		}
		if apimeta.IsStatusConditionTrue(latest.Status.Conditions, v1alpha1.ConditionReady) {
			klog.FromContext(ctx).Info("Volume became ready while it was to be withdrawn")
			return latest, nil
		}
		volume = latest
	}
}

// remove deletes a volume in exactly this state. A conflict means that it has another one by now.
func (s *Service) remove(ctx context.Context, volume *v1alpha1.ThinVolume) error {
	uid, version := volume.UID, volume.ResourceVersion
	target := &v1alpha1.ThinVolume{}
	target.Name = volume.Name
	return client.IgnoreNotFound(s.client.Delete(ctx, target, client.Preconditions{UID: &uid, ResourceVersion: &version}))
}

// bound is the name of the PersistentVolume that uses a volume, or empty. csi-provisioner names both after the request.
func (s *Service) bound(ctx context.Context, r *request, volume string) (string, error) {
	name := r.claim.PersistentVolume
	if name == "" {
		name = r.name
	}
	var persistent corev1.PersistentVolume
	if err := s.live.Get(ctx, client.ObjectKey{Name: name}, &persistent); err != nil {
		return "", client.IgnoreNotFound(err)
	}
	source := persistent.Spec.CSI
	if source != nil && source.Driver == v1alpha1.DriverName && source.VolumeHandle == volume {
		return persistent.Name, nil
	}
	return "", nil
}

// inUseError: a volume cannot be given out and must not be taken back. It may pass.
type inUseError struct{ message string }

func (e *inUseError) Error() string { return e.message }

// refusedError: the node will never make the volume as it was asked for.
type refusedError struct{ message string }

func (e *refusedError) Error() string { return e.message }
