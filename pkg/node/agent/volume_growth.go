package agent

import (
	"context"
	"errors"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// growing tells whether a volume that was made is to become larger. What its status says counts, not what the pool's registry
// has: the thin device may be behind that.
func growing(object *v1alpha1.ThinVolume) bool {
	size := object.Status.Size
	return size != nil && size.Cmp(object.Spec.Capacity) < 0
}

// grow gives a volume that exists the size that it should have, and says what it has. One that cannot grow stays ready.
func (r *volumeReconciler) grow(ctx context.Context, pool pools.Pool, poolID string, object *v1alpha1.ThinVolume, volume thinpool.Volume) error {
	if !growing(object) {
		return r.sayReady(ctx, object, volume, poolID, nil)
	}
	spec, err := volumeSpec(object)
	if err != nil {
		return err
	}
	// The registry may have more, from an attempt that came so far.
	grown, err := pool.GrowVolume(ctx, object.Name, max(spec.Size, volume.Size))
	if err == nil {
		return r.sayReady(ctx, object, grown, poolID, nil)
	}
	if errors.Is(err, context.Canceled) {
		return err // stopping: no verdict
	}
	if errors.Is(err, thinpool.ErrNoSpace) {
		r.refreshPool(object.Spec.PoolName)
	}
	if writeErr := r.sayReady(ctx, object, volume, poolID, err); writeErr != nil {
		return writeErr
	}
	if _, final := reason(err); final {
		klog.FromContext(ctx).Info("Growth of a volume is refused", "volume", object.Name, "pool", object.Spec.PoolName, "err", err)
		return nil
	}
	return err
}
