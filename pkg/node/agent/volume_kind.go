package agent

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// volumes: a ThinVolume stands for a thin device.
type volumes struct{}

func (volumes) name() string                { return "volume" }
func (volumes) empty() *v1alpha1.ThinVolume { return &v1alpha1.ThinVolume{} }

func (volumes) about(o *v1alpha1.ThinVolume) about {
	return about{
		nodeName: o.Spec.NodeName, poolName: o.Spec.PoolName, made: o.Status.ThinID != nil, changing: growing(o),
		conditions: &o.Status.Conditions, observedGeneration: &o.Status.ObservedGeneration,
	}
}

func (volumes) valid(object *v1alpha1.ThinVolume) bool {
	return volumeid.Check("metadata.name", object.Name) == nil
}

func (volumes) list(ctx context.Context, reader client.Reader, poolName string) ([]*v1alpha1.ThinVolume, error) {
	objects, err := volumesOf(ctx, reader, poolName)
	return pointers(objects), err
}

// volumesOf lists the node's volumes in a pool.
func volumesOf(ctx context.Context, reader client.Reader, poolName string) ([]v1alpha1.ThinVolume, error) {
	var list v1alpha1.ThinVolumeList
	err := reader.List(ctx, &list)
	return slices.DeleteFunc(list.Items, func(o v1alpha1.ThinVolume) bool { return o.Spec.PoolName != poolName }), err
}

func pointers[T any](items []T) (to []*T) {
	for i := range items {
		to = append(to, &items[i])
	}
	return to
}

// ensure makes the volume only if it was never made, and grows it where it is smaller than it should be.
func (v volumes) ensure(ctx context.Context, pool pools.Pool, poolID string, object *v1alpha1.ThinVolume) (*existing[*v1alpha1.ThinVolume], error) {
	spec, err := volumeSpec(object)
	if err != nil {
		return nil, err
	}
	var volume thinpool.Volume
	if object.Status.ThinID == nil {
		volume, err = pool.CreateVolume(ctx, spec)
	} else {
		volume, err = sameDevice(pool, spec.Name, poolID, object.Status.PoolID, *object.Status.ThinID)
	}
	if err != nil {
		return nil, err
	}
	var notGrown error
	if growing(object) {
		volume, notGrown = grow(ctx, pool, volume, spec.Size)
	}
	return readyVolume(object, volume, poolID, notGrown), notGrown
}

// remove deletes the volume, unless the name is that of a pod's inline volume, which no object stands for.
func (volumes) remove(ctx context.Context, pool pools.Pool, object *v1alpha1.ThinVolume) error {
	if volume, err := pool.Volume(object.Name); err == nil && volume.Owner != "" {
		return nil
	}
	return pool.DeleteVolume(ctx, object.Name)
}

// sameDevice gives a thin device that was made before, which must still be the one that it was then.
func sameDevice(pool pools.Pool, name, poolID, madeIn string, madeAs int64) (thinpool.Volume, error) {
	if madeIn != poolID {
		return thinpool.Volume{}, fmt.Errorf("%w: it was made in pool %s, this one is %s", thinpool.ErrVolumeNotFound, madeIn, poolID)
	}
	volume, err := pool.Volume(name)
	if err != nil {
		return thinpool.Volume{}, err
	}
	if int64(volume.ThinID) != madeAs {
		return thinpool.Volume{}, fmt.Errorf("%w: it was made with thin id %d, the pool's registry has %d", thinpool.ErrVolumeNotFound, madeAs, volume.ThinID)
	}
	return volume, nil
}
