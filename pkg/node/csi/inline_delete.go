package csi

import (
	"context"
	"errors"
	"path/filepath"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// deleteInline deletes an inline volume whose mount was at the given path and is not any more. It leaves every other volume alone.
//
// A pool that is not open, or has failed, does not keep the pod from going: what it holds for the pod is reclaimed when it is well.
func (n *Node) deleteInline(ctx context.Context, id, target string) error {
	volume, err := n.config.Pools.Find(id, "")
	if errors.Is(err, thinpool.ErrVolumeNotFound) || errors.Is(err, pools.ErrNotOpen) {
		return nil
	}
	if err != nil {
		return err
	}
	if volume.Owner == "" || filepath.Join(n.config.Kubelet.Directory(), volume.Owner) != target {
		return nil
	}
	err = volume.Pool.DeleteVolume(ctx, id)
	if errors.Is(err, thinpool.ErrPoolFailed) || errors.Is(err, thinpool.ErrPoolClosed) {
		klog.FromContext(ctx).Error(err, "A pod's inline volume is deleted when its pool is well again", "volume", id, "pool", volume.PoolName)
		return nil
	}
	if err != nil {
		return err
	}
	n.missing.found(id)
	n.inlineChanged(volume.PoolName)
	return nil
}
