package csi

import (
	"context"
	"errors"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// CreateSnapshot takes a snapshot of a volume, on the volume's node, and returns once it is taken.
//
// What stands in the way is FAILED_PRECONDITION, also where the node has no room: csi-snapshotter takes RESOURCE_EXHAUSTED, as
// UNAVAILABLE, for a snapshot that may still come to be, and lets nobody delete its VolumeSnapshot until one of them succeeds.
// Here nothing is under way after a refusal.
func (s *Service) CreateSnapshot(ctx context.Context, req *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	r, err := readSnapshotRequest(req)
	if err != nil {
		return nil, asStatus(err)
	}
	ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithValues("snapshot", r.name, "volume", r.volume))
	snapshot, err := s.takeSnapshot(ctx, &r)
	if err != nil {
		return nil, asStatus(err)
	}
	return &csi.CreateSnapshotResponse{Snapshot: describe(snapshot)}, nil
}

func (s *Service) takeSnapshot(ctx context.Context, r *snapshotRequest) (*v1alpha1.ThinSnapshot, error) {
	for {
		snapshot, release, err := s.ensureSnapshot(ctx, r)
		if err != nil {
			return nil, err
		}
		taken, err := s.awaitSnapshot(ctx, snapshot)
		release()
		if errors.Is(err, errGone) {
			klog.FromContext(ctx).V(4).Info("Snapshot is gone, taking it again")
			continue
		}
		return taken, err
	}
}

// ensureSnapshot gives the ThinSnapshot of a request: the one that exists, whether or not its volume still does, or a new one.
// release must be called once the caches show it, or it is known to be gone.
func (s *Service) ensureSnapshot(ctx context.Context, r *snapshotRequest) (_ *v1alpha1.ThinSnapshot, release func(), err error) {
	snapshot := new(v1alpha1.ThinSnapshot)
	err = s.client.Get(ctx, client.ObjectKey{Name: r.name}, snapshot)
	for {
		switch {
		case err == nil && snapshot.Spec.VolumeName != r.volume:
			return nil, nil, &existsError{fmt.Sprintf("snapshot %q exists and is of volume %q", r.name, snapshot.Spec.VolumeName)}
		case err == nil && snapshot.DeletionTimestamp != nil:
			return nil, nil, &preconditionError{fmt.Sprintf("snapshot %q of an earlier request is still being deleted on node %q", r.name, snapshot.Spec.NodeName)}
		case err == nil:
			return snapshot, func() {}, nil
		case !apierrors.IsNotFound(err):
			return nil, nil, err
		}
		volume, sourceErr := s.snapshotSource(ctx, r.volume)
		if sourceErr != nil {
			return nil, nil, sourceErr
		}
		snapshot = snapshotOf(volume, r.name)
		if release, err = s.admitSnapshot(ctx, snapshot); err != nil {
			return nil, nil, err
		}
		if err = s.client.Create(ctx, snapshot); err == nil {
			return snapshot, release, nil
		}
		release()
		if !apierrors.IsAlreadyExists(err) {
			return nil, nil, fmt.Errorf("make ThinSnapshot: %w", err)
		}
		// Another call made it, and the cache is behind.
		err = s.live.Get(ctx, client.ObjectKeyFromObject(snapshot), snapshot)
	}
}

// snapshotSource is a volume that a snapshot can be taken of.
func (s *Service) snapshotSource(ctx context.Context, handle string) (*v1alpha1.ThinVolume, error) {
	volume, err := s.find(ctx, handle)
	switch {
	case apierrors.IsNotFound(err):
		return nil, &notFoundError{fmt.Sprintf("source_volume_id: volume %q does not exist", handle)}
	case err != nil:
		return nil, err
	case volume.DeletionTimestamp != nil:
		return nil, &preconditionError{fmt.Sprintf("source_volume_id: volume %q is being deleted", handle)}
	case !apimeta.IsStatusConditionTrue(volume.Status.Conditions, v1alpha1.ConditionReady):
		return nil, &preconditionError{fmt.Sprintf("source_volume_id: volume %q is not ready: %s", handle, lastWord(volume.Status.Conditions))}
	}
	return volume, nil
}

// admitSnapshot promises room for a snapshot in its volume's pool, until release is called, or refuses.
func (s *Service) admitSnapshot(ctx context.Context, snapshot *v1alpha1.ThinSnapshot) (release func(), err error) {
	spec := &snapshot.Spec
	release, err = s.promise(ctx, part{spec.PoolName, spec.NodeName}, func(assessment view.Assessment) (view.Assumed, error) {
		size, room := view.SnapshotSize(snapshot, assessment.Pool.BlockSize), assessment.Room()
		if size > room.LargestVolume {
			return nil, &exhaustedError{fmt.Sprintf("pool %q on node %q has no room for a snapshot of volume %q, which has %d bytes: it can promise %d",
				spec.PoolName, spec.NodeName, spec.VolumeName, size, room.LargestVolume)}
		}
		return view.Assumed{volumeid.SnapshotDevice(snapshot.Name): size}, nil
	})
	return release, withoutRetry(err)
}

// withoutRetry is the refusal of a snapshot that no other node can take; see CreateSnapshot.
func withoutRetry(err error) error {
	var exhausted *exhaustedError
	if errors.As(err, &exhausted) {
		return &preconditionError{exhausted.message}
	}
	return err
}
