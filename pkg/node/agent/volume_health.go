package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/monitor"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumehealth"
)

// healthInterval is how often the volumes are looked at: the kernel tells nobody when a file system has met an error.
const healthInterval = 10 * time.Second

// healthReporter writes into a ThinVolume's status what is wrong with that volume alone, when it changes. What is wrong with its
// pool stands in the NodeThinPool: a pool that fails takes one write, not thousands.
type healthReporter struct {
	client  client.Client
	pools   *pools.Set
	monitor *monitor.Monitor
}

// Start reports until ctx ends. It is part of manager.Runnable.
func (r *healthReporter) Start(ctx context.Context) error {
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		for _, name := range r.pools.Names() {
			if err := r.report(ctx, name); err != nil && ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "The volumes' health could not be reported", "pool", name)
			}
		}
	}
}

// report looks at a pool's volumes and writes what has changed. A pool that is not open says so itself.
func (r *healthReporter) report(ctx context.Context, poolName string) error {
	pool, err := r.pools.Get(poolName)
	if errors.Is(err, pools.ErrNotOpen) {
		return nil
	}
	if err != nil {
		return err
	}
	problems, err := r.monitor.Volumes(ctx, pool)
	if errors.Is(err, thinpool.ErrPoolClosed) {
		return nil
	}
	if err != nil {
		return err
	}
	var list v1alpha1.ThinVolumeList
	if err := r.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range list.Items {
		volume := &list.Items[i]
		if volume.Spec.PoolName != poolName || volume.Status.ThinID == nil || volume.DeletionTimestamp != nil {
			continue
		}
		if err := r.write(ctx, volume, problems[volume.Name]); err != nil {
			return err
		}
	}
	return nil
}

// write patches a volume's condition if it does not say so already. A volume that was always well has none. The list of
// conditions is written as a whole, and not over one that somebody else has written meanwhile: the next round does it then.
func (r *healthReporter) write(ctx context.Context, cached *v1alpha1.ThinVolume, problems []volumehealth.Problem) error {
	condition := volumehealth.Condition(problems, cached.Generation)
	written := meta.FindStatusCondition(cached.Status.Conditions, v1alpha1.ConditionHealthy)
	if written == nil && len(problems) == 0 {
		return nil
	}
	if written != nil && written.Status == condition.Status && written.Reason == condition.Reason {
		return nil
	}
	volume := cached.DeepCopy()
	patch := client.MergeFromWithOptions(volume.DeepCopy(), client.MergeFromWithOptimisticLock{})
	meta.SetStatusCondition(&volume.Status.Conditions, condition)
	klog.FromContext(ctx).Info("Volume's health has changed", "volume", volume.Name, "reason", condition.Reason, "message", condition.Message)
	if err := r.client.Status().Patch(ctx, volume, patch); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("write status of %s: %w", volume.Name, err))
	}
	return nil
}
