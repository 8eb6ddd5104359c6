package csi

import (
	"context"
	"errors"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// groupSnapshots are the snapshots of a group that was taken, in the order of its members. Those that have no object yet get one,
// all before the first is waited for.
func (s *Service) groupSnapshots(ctx context.Context, group *v1alpha1.ThinGroupSnapshot) ([]*v1alpha1.ThinSnapshot, error) {
	snapshots := make([]*v1alpha1.ThinSnapshot, len(group.Spec.Members))
	for i, member := range group.Spec.Members {
		snapshot, err := s.memberSnapshot(ctx, group, member)
		if err != nil {
			return nil, err
		}
		snapshots[i] = snapshot
	}
	for i, snapshot := range snapshots {
		taken, err := s.awaitMember(ctx, snapshot)
		if err != nil {
			return nil, err
		}
		snapshots[i] = taken
	}
	return snapshots, nil
}

// memberSnapshot gives the object of a group's snapshot: the one that exists, or a new one.
func (s *Service) memberSnapshot(ctx context.Context, group *v1alpha1.ThinGroupSnapshot, member v1alpha1.GroupSnapshotMember) (*v1alpha1.ThinSnapshot, error) {
	snapshot, err := findObject[v1alpha1.ThinSnapshot](ctx, s, member.SnapshotName)
	if apierrors.IsNotFound(err) {
		snapshot = s.newMember(ctx, group, member)
		if err = s.client.Create(ctx, snapshot); apierrors.IsAlreadyExists(err) {
			err = s.live.Get(ctx, client.ObjectKeyFromObject(snapshot), snapshot)
		}
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("make ThinSnapshot of a group: %w", err)
	case snapshot.Spec.GroupName != group.Name, snapshot.Spec.VolumeName != member.VolumeName:
		return nil, &existsError{fmt.Sprintf("snapshot %q exists and is not of group snapshot %q", snapshot.Name, group.Name)}
	case snapshot.DeletionTimestamp != nil:
		return nil, &preconditionError{fmt.Sprintf("snapshot %q of group snapshot %q is being deleted", snapshot.Name, group.Name)}
	}
	return snapshot, nil
}

// newMember is the object that a group's snapshot becomes. Its volume may be gone by now; only its claim is then not known.
func (s *Service) newMember(ctx context.Context, group *v1alpha1.ThinGroupSnapshot, member v1alpha1.GroupSnapshotMember) *v1alpha1.ThinSnapshot {
	volume, err := s.find(ctx, member.VolumeName)
	if err != nil {
		volume = &v1alpha1.ThinVolume{}
		volume.Name = member.VolumeName
	}
	volume = volume.DeepCopy()
	volume.Spec.NodeName, volume.Spec.PoolName, volume.Spec.Capacity = group.Spec.NodeName, group.Spec.PoolName, member.Capacity
	volume.Spec.FSType, volume.Status.Size = member.FSType, nil
	snapshot := snapshotOf(volume, member.SnapshotName)
	snapshot.Spec.GroupName = group.Name
	return snapshot
}

// awaitMember waits for a snapshot that its group has taken.
func (s *Service) awaitMember(ctx context.Context, snapshot *v1alpha1.ThinSnapshot) (*v1alpha1.ThinSnapshot, error) {
	changed, cancel := s.notifier.subscribe(keyOfSnapshot(snapshot.Name))
	defer cancel()
	observer := observerOf(s, snapshot)
	for {
		latest, err := observer.look(ctx)
		switch {
		case errors.Is(err, errGone):
			return nil, &inUseError{fmt.Sprintf("snapshot %q was deleted meanwhile", snapshot.Name)}
		case err != nil:
			return nil, err
		case isTaken(latest):
			return latest, nil
		case len(latest.Status.Conditions) > 0:
			return nil, &inUseError{fmt.Sprintf("snapshot %q of group snapshot %q is not ready: %s", latest.Name, latest.Spec.GroupName, lastWord(latest.Status.Conditions))}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("snapshot %q of group snapshot %q is not ready: %w", latest.Name, latest.Spec.GroupName, ctx.Err())
		}
	}
}

// DeleteVolumeGroupSnapshot deletes a group and all of its snapshots, and returns once their thin devices are given back. A group
// that does not exist is deleted.
func (s *Service) DeleteVolumeGroupSnapshot(ctx context.Context, req *csi.DeleteVolumeGroupSnapshotRequest) (*csi.DeleteVolumeGroupSnapshotResponse, error) {
	if req.GetGroupSnapshotId() == "" {
		return nil, asStatus(&fieldError{"group_snapshot_id", "", "the handle of a group snapshot"})
	}
	if volumeid.CheckSnapshot("group_snapshot_id", req.GetGroupSnapshotId()) == nil {
		if err := s.deleteGroup(ctx, req.GetGroupSnapshotId(), req.GetSnapshotIds()); err != nil {
			return nil, asStatus(err)
		}
	}
	// No group ever had a handle of another form.
	return &csi.DeleteVolumeGroupSnapshotResponse{}, nil
}

func (s *Service) deleteGroup(ctx context.Context, name string, ids []string) error {
	// Before anything else, so that no change is missed.
	changed, cancel := s.notifier.subscribe(keyOfGroup(name))
	defer cancel()
	group, err := findObject[v1alpha1.ThinGroupSnapshot](ctx, s, name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		err = checkMembers(group, ids)
	}
	if err != nil {
		return err
	}
	for _, member := range group.Spec.Members {
		if err := s.deleteSnapshot(ctx, member.SnapshotName, true); err != nil {
			return err
		}
	}
	if group.DeletionTimestamp == nil {
		uid := group.UID
		if err := s.client.Delete(ctx, group, client.Preconditions{UID: &uid}); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	for {
		gone, err := isGone(ctx, s, group)
		if gone || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("group snapshot %q is being deleted on node %q: %w", name, group.Spec.NodeName, ctx.Err())
		}
	}
}

// GetVolumeGroupSnapshot tells about one group, taken or not yet.
func (s *Service) GetVolumeGroupSnapshot(ctx context.Context, req *csi.GetVolumeGroupSnapshotRequest) (*csi.GetVolumeGroupSnapshotResponse, error) {
	if req.GetGroupSnapshotId() == "" {
		return nil, asStatus(&fieldError{"group_snapshot_id", "", "the handle of a group snapshot"})
	}
	if err := volumeid.CheckSnapshot("group_snapshot_id", req.GetGroupSnapshotId()); err != nil {
		return nil, asStatus(err)
	}
	group, err := findObject[v1alpha1.ThinGroupSnapshot](ctx, s, req.GetGroupSnapshotId())
	if apierrors.IsNotFound(err) {
		err = &notFoundError{fmt.Sprintf("group_snapshot_id: group snapshot %q does not exist", req.GetGroupSnapshotId())}
	}
	if err == nil {
		err = checkMembers(group, req.GetSnapshotIds())
	}
	if err != nil {
		return nil, asStatus(err)
	}
	var snapshots []*v1alpha1.ThinSnapshot
	for _, member := range group.Spec.Members {
		snapshot, err := findObject[v1alpha1.ThinSnapshot](ctx, s, member.SnapshotName)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, asStatus(err)
		}
		snapshots = append(snapshots, snapshot)
	}
	return &csi.GetVolumeGroupSnapshotResponse{GroupSnapshot: describeGroup(group, snapshots)}, nil
}
