package csi

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// DeleteSnapshot deletes a snapshot and returns once its thin device is given back. A snapshot that does not exist is deleted.
func (s *Service) DeleteSnapshot(ctx context.Context, req *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	if req.GetSnapshotId() == "" {
		return nil, asStatus(&fieldError{"snapshot_id", "", "the handle of a snapshot"})
	}
	if volumeid.CheckSnapshot("snapshot_id", req.GetSnapshotId()) == nil {
		if err := s.deleteSnapshot(ctx, req.GetSnapshotId(), false); err != nil {
			return nil, asStatus(err)
		}
	}
	// No snapshot ever had a handle of another form.
	return &csi.DeleteSnapshotResponse{}, nil
}

// deleteSnapshot deletes a snapshot; one of a group only if grouped is set.
func (s *Service) deleteSnapshot(ctx context.Context, name string, grouped bool) error {
	// Before anything else, so that no change is missed.
	changed, cancel := s.notifier.subscribe(keyOfSnapshot(name))
	defer cancel()
	snapshot, err := findObject[v1alpha1.ThinSnapshot](ctx, s, name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if snapshot.Spec.GroupName != "" && !grouped {
		return &fieldError{"snapshot_id", name, fmt.Sprintf("a snapshot that was taken alone: this one goes with its group snapshot %q", snapshot.Spec.GroupName)}
	}
	if snapshot.DeletionTimestamp == nil {
		uid := snapshot.UID
		if err := s.client.Delete(ctx, snapshot, client.Preconditions{UID: &uid}); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	for {
		gone, err := isGone(ctx, s, snapshot)
		if gone || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("snapshot %q is being deleted on node %q: %w", name, snapshot.Spec.NodeName, ctx.Err())
		}
	}
}
