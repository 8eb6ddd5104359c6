package csi

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// GroupControllerGetCapabilities lists what the service can do.
func (s *Service) GroupControllerGetCapabilities(context.Context, *csi.GroupControllerGetCapabilitiesRequest) (*csi.GroupControllerGetCapabilitiesResponse, error) {
	return &csi.GroupControllerGetCapabilitiesResponse{Capabilities: []*csi.GroupControllerServiceCapability{{
		Type: &csi.GroupControllerServiceCapability_Rpc{Rpc: &csi.GroupControllerServiceCapability_RPC{
			Type: csi.GroupControllerServiceCapability_RPC_CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT,
		}},
	}}}, nil
}

// CreateVolumeGroupSnapshot takes snapshots of several volumes of one pool at one moment, and returns once all are taken. One
// object carries the group to the node; when that has taken it, each of its snapshots gets an object of its own, by which it is
// restored from as any other. Refusals are as CreateSnapshot's.
func (s *Service) CreateVolumeGroupSnapshot(ctx context.Context, req *csi.CreateVolumeGroupSnapshotRequest) (*csi.CreateVolumeGroupSnapshotResponse, error) {
	r, err := readGroupRequest(req)
	if err != nil {
		return nil, asStatus(err)
	}
	ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithValues("groupSnapshot", r.name))
	group, err := s.takeGroup(ctx, &r)
	if err != nil {
		return nil, asStatus(err)
	}
	snapshots, err := s.groupSnapshots(ctx, group)
	if err != nil {
		return nil, asStatus(err)
	}
	return &csi.CreateVolumeGroupSnapshotResponse{GroupSnapshot: describeGroup(group, snapshots)}, nil
}

func (s *Service) takeGroup(ctx context.Context, r *groupRequest) (*v1alpha1.ThinGroupSnapshot, error) {
	for {
		group, release, err := s.ensureGroup(ctx, r)
		if err != nil {
			return nil, err
		}
		taken, err := s.awaitGroup(ctx, group)
		release()
		if errors.Is(err, errGone) {
			klog.FromContext(ctx).V(4).Info("Group snapshot is gone, taking it again")
			continue
		}
		return taken, err
	}
}

// ensureGroup gives the ThinGroupSnapshot of a request: the one that exists, or a new one. release must be called once the caches
// show it, or it is known to be gone.
func (s *Service) ensureGroup(ctx context.Context, r *groupRequest) (_ *v1alpha1.ThinGroupSnapshot, release func(), err error) {
	group := new(v1alpha1.ThinGroupSnapshot)
	err = s.client.Get(ctx, client.ObjectKey{Name: r.name}, group)
	for {
		switch {
		case err == nil && !slices.Equal(volumesOf(group), r.volumes):
			return nil, nil, &existsError{fmt.Sprintf("group snapshot %q exists and is of the volumes %q", r.name, volumesOf(group))}
		case err == nil && group.DeletionTimestamp != nil:
			return nil, nil, &preconditionError{fmt.Sprintf("group snapshot %q of an earlier request is still being deleted on node %q", r.name, group.Spec.NodeName)}
		case err == nil:
			return group, func() {}, nil
		case !apierrors.IsNotFound(err):
			return nil, nil, err
		}
		volumes, sourceErr := s.groupSources(ctx, r.volumes)
		if sourceErr != nil {
			return nil, nil, sourceErr
		}
		group = groupOf(volumes, r.name)
		if release, err = s.admitGroup(ctx, group); err != nil {
			return nil, nil, err
		}
		if err = s.client.Create(ctx, group); err == nil {
			return group, release, nil
		}
		release()
		if !apierrors.IsAlreadyExists(err) {
			return nil, nil, fmt.Errorf("make ThinGroupSnapshot: %w", err)
		}
		// Another call made it, and the cache is behind.
		err = s.live.Get(ctx, client.ObjectKeyFromObject(group), group)
	}
}

// groupSources are volumes of which a group can be taken: all in one pool of one node.
func (s *Service) groupSources(ctx context.Context, handles []string) ([]*v1alpha1.ThinVolume, error) {
	volumes := make([]*v1alpha1.ThinVolume, len(handles))
	for i, handle := range handles {
		volume, err := s.snapshotSource(ctx, handle)
		if err != nil {
			return nil, err
		}
		volumes[i] = volume
		first := volumes[0].Spec
		if volume.Spec.NodeName != first.NodeName || volume.Spec.PoolName != first.PoolName {
			return nil, &preconditionError{fmt.Sprintf("source_volume_ids: volume %q is in pool %q on node %q, and volume %q in pool %q on node %q: "+
				"snapshots at one moment are taken of volumes of one pool on one node",
				volumes[0].Name, first.PoolName, first.NodeName, handle, volume.Spec.PoolName, volume.Spec.NodeName)}
		}
	}
	return volumes, nil
}

// admitGroup promises room for all snapshots of a group, until release is called, or refuses.
func (s *Service) admitGroup(ctx context.Context, group *v1alpha1.ThinGroupSnapshot) (release func(), err error) {
	spec := &group.Spec
	release, err = s.promise(ctx, part{spec.PoolName, spec.NodeName}, func(assessment view.Assessment) (view.Assumed, error) {
		sizes, room := view.Assumed{}, assessment.Room()
		var sum int64
		for _, member := range spec.Members {
			size := view.WholeBlocks(member.Capacity.Value(), assessment.Pool.BlockSize)
			sizes[volumeid.SnapshotDevice(member.SnapshotName)] = size
			sum += size
		}
		if sum > room.LargestVolume || sum < 0 {
			return nil, &exhaustedError{fmt.Sprintf("pool %q on node %q has no room for snapshots of the volumes %q, which have %d bytes together: it can promise %d",
				spec.PoolName, spec.NodeName, volumesOf(group), sum, room.LargestVolume)}
		}
		return sizes, nil
	})
	return release, withoutRetry(err)
}
