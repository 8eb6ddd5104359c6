package agent

import (
	"context"

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

// grow gives a volume the size that it should have, in bytes. One that cannot grow is given as it is, with the error.
func grow(ctx context.Context, pool pools.Pool, volume thinpool.Volume, size int64) (thinpool.Volume, error) {
	// The registry may have more, from an attempt that came so far.
	grown, err := pool.GrowVolume(ctx, volume.Name, max(size, volume.Size))
	if err != nil {
		return volume, err
	}
	return grown, nil
}
