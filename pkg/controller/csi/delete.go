package csi

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// DeleteVolume deletes a volume and returns once its thin device is given back. A volume that does not exist is deleted.
func (s *Service) DeleteVolume(ctx context.Context, req *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, asStatus(&fieldError{"volume_id", "", "the handle of a volume"})
	}
	if volumeid.Check("volume_id", req.GetVolumeId()) == nil {
		if err := s.delete(ctx, req.GetVolumeId()); err != nil {
			return nil, asStatus(err)
		}
	}
	// No volume ever had a handle of another form.
	return &csi.DeleteVolumeResponse{}, nil
}

func (s *Service) delete(ctx context.Context, name string) error {
	// Before anything else, so that no change is missed.
	changed, cancel := s.notifier.subscribe(keyOfVolume(name))
	defer cancel()
	volume, err := s.find(ctx, name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if volume.DeletionTimestamp == nil {
		uid := volume.UID
		if err := s.client.Delete(ctx, volume, client.Preconditions{UID: &uid}); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	for {
		gone, err := isGone(ctx, s, volume)
		if gone || err != nil {
			return err
		}
		latest := new(v1alpha1.ThinVolume)
		if err := s.client.Get(ctx, client.ObjectKeyFromObject(volume), latest); err == nil && latest.DeletionTimestamp != nil {
			if condition := apimeta.FindStatusCondition(latest.Status.Conditions, v1alpha1.ConditionReady); condition != nil && condition.Reason == v1alpha1.ReasonVolumeInUse {
				return status.Error(codes.FailedPrecondition, fmt.Sprintf("volume %q is in use on node %q: %s", name, latest.Spec.NodeName, condition.Message))
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("volume %q is being deleted on node %q: %w", name, volume.Spec.NodeName, ctx.Err())
		}
	}
}

// find gives a volume by its handle.
func (s *Service) find(ctx context.Context, name string) (*v1alpha1.ThinVolume, error) {
	return findObject[v1alpha1.ThinVolume](ctx, s, name)
}
