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
)

// CreateVolume makes a volume on the node that the request prefers, or on the one with the most room where it prefers none. One
// with a source is made on the source's node.
func (s *Service) CreateVolume(ctx context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	r, err := readRequest(req)
	if err != nil {
		return nil, asStatus(err)
	}
	volume, err := s.create(ctx, &r)
	if err != nil {
		s.tellPods(ctx, &r, err)
		return nil, asStatus(err)
	}
	made := csiVolume(volume)
	made.ContentSource = r.source.content()
	return &csi.CreateVolumeResponse{Volume: made}, nil
}

// contextOf is what the node is told of a volume with each call. The pool's name lets it look in the right pool first.
func contextOf(volume *v1alpha1.ThinVolume) map[string]string {
	values := map[string]string{v1alpha1.ParameterPool: volume.Spec.PoolName}
	if volume.Spec.RootMode != "" {
		values[v1alpha1.ParameterRootMode] = volume.Spec.RootMode
	}
	return values
}

func (s *Service) create(ctx context.Context, r *request) (*v1alpha1.ThinVolume, error) {
	if err := s.view.CheckPool(ctx, r.pool); err != nil {
		return nil, err
	}
	for {
		node, err := s.place(ctx, r)
		if err != nil {
			return nil, err
		}
		ctx := klog.NewContext(ctx, klog.FromContext(ctx).WithValues("volume", v1alpha1.VolumeName(r.name, node), "node", node))
		if err := s.clearElsewhere(ctx, r, node); err != nil {
			return nil, err
		}
		volume, release, err := s.ensure(ctx, r, node)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return nil, s.published(ctx, r.pool, node, err)
		}
		made, err := s.awaitReady(ctx, r, volume)
		release()
		switch {
		case errors.Is(err, errGone):
			// It was deleted before it was ready: by an admin, or by a call that gave up. The request stands.
			klog.FromContext(ctx).V(4).Info("Volume is gone, making it again")
			continue
		case err != nil:
			return nil, err
		}
		if !r.size.contains(view.VolumeSize(made, 1)) {
			return nil, different(made, fmt.Sprintf("its size is %d bytes", view.VolumeSize(made, 1)))
		}
		return made, nil
	}
}

// ensure gives the ThinVolume of a request: the one that exists, or a new one. release must be called once the caches show
// it, or it is known to be gone.
func (s *Service) ensure(ctx context.Context, r *request, node string) (_ *v1alpha1.ThinVolume, release func(), err error) {
	volume := new(v1alpha1.ThinVolume)
	err = s.client.Get(ctx, client.ObjectKey{Name: v1alpha1.VolumeName(r.name, node)}, volume)
	for {
		switch {
		case err == nil && volume.DeletionTimestamp != nil:
			if err := s.awaitGone(ctx, volume); err != nil {
				return nil, nil, err
			}
		case err == nil:
			return volume, func() {}, compatible(volume, r)
		case !apierrors.IsNotFound(err):
			return nil, nil, err
		}
		if r.source != nil && !r.source.settled {
			// It was there when its node was looked for.
			return nil, nil, errGone
		}
		volume = r.volume(node)
		release, err = s.admit(ctx, r, node, volume.Name)
		if err != nil {
			return nil, nil, err
		}
		if err = s.client.Create(ctx, volume); err == nil {
			return volume, release, nil
		}
		release()
		if !apierrors.IsAlreadyExists(err) {
			return nil, nil, fmt.Errorf("make ThinVolume: %w", err)
		}
		// Another call made it, and the cache is behind.
		err = s.live.Get(ctx, client.ObjectKeyFromObject(volume), volume)
	}
}

// compatible refuses a volume that a request of the same name, but for something else, made.
func compatible(volume *v1alpha1.ThinVolume, r *request) error {
	spec := &volume.Spec
	switch size := spec.Capacity.Value(); {
	case spec.PoolName != r.pool:
		return different(volume, fmt.Sprintf("its pool is %q", spec.PoolName))
	case spec.IsBlock() != r.block:
		return different(volume, fmt.Sprintf("its volume mode is %s", spec.VolumeMode))
	case !sameSource(spec.Source, r):
		return different(volume, "it has another source")
	case spec.FSType != string(r.format.Type) && (r.source == nil || r.source.asked != ""):
		return different(volume, fmt.Sprintf("its file system is %s", spec.FSType))
	case !slices.Equal(spec.MkfsOptions, r.format.Options):
		return different(volume, fmt.Sprintf("its mkfs options are %q", spec.MkfsOptions))
	case spec.RootMode != r.rootMode.String():
		return different(volume, fmt.Sprintf("its root mode is %q", spec.RootMode))
	case !r.size.contains(size):
		return different(volume, fmt.Sprintf("its size is %d bytes", size))
	}
	return nil
}

func different(volume *v1alpha1.ThinVolume, how string) error {
	return &existsError{fmt.Sprintf("volume %q exists and is not what is asked for: %s", volume.Name, how)}
}

// published publishes the pool's capacity before a refusal for lack of room is answered: the scheduler is about to choose
// again.
func (s *Service) published(ctx context.Context, pool, node string, refusal error) error {
	var exhausted *exhaustedError
	if !errors.As(refusal, &exhausted) {
		return refusal
	}
	if err := s.capacity.PublishPool(ctx, pool, node); err != nil {
		// The tracker will do it.
		klog.FromContext(ctx).Error(err, "Cannot publish capacity before refusing a volume", "pool", pool)
	}
	return refusal
}

// clearElsewhere takes back what the same request left on other nodes. Its caller has given up on them, for it would not ask
// for the volume here if it had it there; yet a volume that a PersistentVolume names is never touched.
func (s *Service) clearElsewhere(ctx context.Context, r *request, node string) error {
	volumes, err := s.view.VolumesOfRequest(ctx, r.name)
	if err != nil {
		return err
	}
	for i := range volumes {
		left := &volumes[i]
		if left.Spec.NodeName == node || left.DeletionTimestamp != nil {
			continue
		}
		bound, err := s.bound(ctx, r, left.Name)
		if err != nil {
			return err
		}
		if bound != "" {
			return different(left, fmt.Sprintf("it is on node %q and PersistentVolume %q uses it", left.Spec.NodeName, bound))
		}
		klog.FromContext(ctx).Info("Taking back volume of the same request on another node", "left", left.Name, "leftOn", left.Spec.NodeName)
		if err := s.remove(ctx, left); err != nil && !apierrors.IsConflict(err) {
			return err
		}
	}
	return nil
}
