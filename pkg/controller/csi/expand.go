package csi

import (
	"context"
	"errors"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// ControllerExpandVolume raises a volume's capacity and returns once its node has made the thin device as large. The file
// system is kubelet's to have grown, by NodeExpandVolume or the next NodeStageVolume.
//
// What cannot be done is OUT_OF_RANGE, and then nothing was changed: csi-resizer lets the claim's owner ask for less, and tries
// again now and then. It takes RESOURCE_EXHAUSTED, like a timeout, for an expansion that may still come about, and would hold the
// claim to that size for ever. Of what may still come about the code is UNAVAILABLE.
func (s *Service) ControllerExpandVolume(ctx context.Context, req *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, asStatus(&fieldError{"volume_id", "", "the handle of a volume"})
	}
	size, err := checkRange(req.GetCapacityRange())
	if err != nil {
		return nil, asStatus(err)
	}
	if err := volumeid.Check("volume_id", req.GetVolumeId()); err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithValues("volume", req.GetVolumeId()))
	volume, err := s.expand(ctx, req.GetVolumeId(), size)
	if errors.Is(err, errGone) {
		return nil, status.Errorf(codes.NotFound, "volume %q does not exist", req.GetVolumeId())
	}
	if err != nil {
		return nil, asStatus(err)
	}
	return &csi.ControllerExpandVolumeResponse{
		CapacityBytes: view.VolumeSize(volume, 1),
		// Of a block volume the device is all there is.
		NodeExpansionRequired: volume.Spec.FSType != "",
	}, nil
}

// expand gives a volume of the size that is asked for, or errGone.
func (s *Service) expand(ctx context.Context, name string, size sizeRange) (*v1alpha1.ThinVolume, error) {
	volume, err := s.find(ctx, name)
	for {
		switch {
		case apierrors.IsNotFound(err), err == nil && volume.DeletionTimestamp != nil:
			return nil, errGone
		case err != nil:
			return nil, err
		}
		grown, refusal := s.expandFrom(ctx, volume, size)
		if !apierrors.IsConflict(refusal) && !errors.Is(refusal, errTakenBack) {
			return grown, refusal
		}
		volume = new(v1alpha1.ThinVolume)
		err = s.live.Get(ctx, client.ObjectKey{Name: name}, volume)
	}
}

// expandFrom grows a volume that is in a certain state. The error is a conflict, or errTakenBack, if it has another one by now.
func (s *Service) expandFrom(ctx context.Context, volume *v1alpha1.ThinVolume, size sizeRange) (*v1alpha1.ThinVolume, error) {
	release, err := s.raise(ctx, volume, size)
	if err != nil {
		return nil, err
	}
	defer release()
	return s.awaitGrown(ctx, volume, size)
}

// raise raises a volume's capacity to what is asked for, unless it is that, and brings volume up to date. The error is a
// conflict if volume is not what the API server has. release must be called once the caches show the change.
func (s *Service) raise(ctx context.Context, volume *v1alpha1.ThinVolume, size sizeRange) (release func(), err error) {
	has, capacity := view.VolumeSize(volume, 1), volume.Spec.Capacity.Value()
	settled := volume.Status.Size != nil && volume.Status.Size.Value() >= capacity
	switch {
	case settled && size.required != 0 && size.required < capacity:
		return nil, &rangeError{fieldError{"capacity_range.required_bytes", size.required, fmt.Sprintf("volume %q has %d bytes and cannot shrink", volume.Name, capacity)}}
	case size.limit != 0 && size.limit < has:
		return nil, &rangeError{fieldError{"capacity_range.limit_bytes", size.limit, fmt.Sprintf("volume %q has %d bytes and cannot shrink", volume.Name, has)}}
	case size.required <= has:
		return func() {}, nil // an earlier call has raised it
	}
	release, err = s.admitGrowth(ctx, volume, size)
	if err != nil {
		return nil, err
	}
	patch := client.MergeFromWithOptions(volume.DeepCopy(), client.MergeFromWithOptimisticLock{})
	volume.Spec.Capacity = *resource.NewQuantity(size.required, resource.BinarySI)
	if err := s.client.Patch(ctx, volume, patch); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// admitGrowth promises the room that a volume is to have more, until release is called, or refuses. The node's own admission
// is final.
func (s *Service) admitGrowth(ctx context.Context, volume *v1alpha1.ThinVolume, asked sizeRange) (release func(), err error) {
	pool, node := volume.Spec.PoolName, volume.Spec.NodeName
	unavailable, err := s.view.Unavailable(ctx, node)
	if err != nil {
		return nil, err
	}
	if unavailable != "" {
		return nil, &unfinishedError{unavailable}
	}
	s.assumed.admission.Lock()
	defer s.assumed.admission.Unlock()
	assessment, err := s.view.Room(ctx, pool, node, s.assumed.of(part{pool, node}))
	var noPool *view.NoPoolError
	if errors.As(err, &noPool) {
		return nil, &unfinishedError{noPool.Error()}
	}
	if err != nil {
		return nil, err
	}
	refuse := func(format string, arguments ...any) (func(), error) {
		return nil, &rangeError{fieldError{"capacity_range.required_bytes", asked.required, fmt.Sprintf(format, arguments...)}}
	}
	if assessment.Obstacle != "" {
		return refuse("volume %q cannot grow: %s", volume.Name, assessment.Obstacle)
	}
	blockSize := assessment.Pool.BlockSize
	has, size := view.VolumeSize(volume, blockSize), view.WholeBlocks(asked.required, blockSize)
	if asked.limit != 0 && size > asked.limit {
		return nil, &rangeError{fieldError{"capacity_range.limit_bytes", asked.limit,
			fmt.Sprintf("a volume in pool %q has whole blocks of %d bytes: at least %d", pool, blockSize, size)}}
	}
	if room := assessment.Room(); size-has > room.LargestVolume {
		return refuse("pool %q on node %q has headroom for %d bytes: volume %q can have %d at most", pool, node, room.LargestVolume, volume.Name, has+room.LargestVolume)
	}
	s.assumed.add(part{pool, node}, volume.Name, size)
	return func() { s.assumed.remove(part{pool, node}, volume.Name) }, nil
}

// unfinishedError: what was asked for is not done, and may still come about: UNAVAILABLE.
type unfinishedError struct{ message string }

func (e *unfinishedError) Error() string { return e.message }
