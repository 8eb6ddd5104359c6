package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

const (
	// firstUsage is when the volumes' usage is read after the agent's start, usageInterval how long later again: longer where
	// reading takes more than a hundredth of that.
	firstUsage    = time.Minute
	usageInterval = 10 * time.Minute
	usageShare    = 100
	// usageLimit bounds the reading of one pool.
	usageLimit = 5 * time.Minute
	// usagePercent is the change from which on a figure is written anew.
	usagePercent = 5
)

// usageReporter writes now and then into the status of each ThinVolume and ThinSnapshot what it holds of its pool.
type usageReporter struct {
	client client.Client
	pools  *pools.Set
}

// Start reports until ctx ends. It is part of manager.Runnable.
func (r *usageReporter) Start(ctx context.Context) error {
	timer := time.NewTimer(firstUsage)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		began := time.Now()
		for _, name := range r.pools.Names() {
			if err := r.report(ctx, name); err != nil && ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "What the volumes hold of their pool could not be reported", "pool", name)
			}
		}
		timer.Reset(max(usageInterval, usageShare*time.Since(began)))
	}
}

// report reads a pool's usage and writes what has changed. A pool that is not open or has failed says so elsewhere.
func (r *usageReporter) report(ctx context.Context, poolName string) error {
	pool, err := r.pools.Get(poolName)
	if errors.Is(err, pools.ErrNotOpen) {
		return nil
	}
	if err != nil {
		return err
	}
	reading, cancel := context.WithTimeout(ctx, usageLimit)
	defer cancel()
	usage, err := pool.Usage(reading)
	if errors.Is(err, thinpool.ErrPoolFailed) || errors.Is(err, thinpool.ErrPoolClosed) {
		return nil
	}
	if err != nil {
		return err
	}
	objects, err := volumesOf(ctx, r.client, poolName)
	if err != nil {
		return err
	}
	for i := range objects {
		volume := &objects[i]
		if held, ok := usage.Volumes[volume.Name]; ok && volume.Status.ThinID != nil && volume.DeletionTimestamp == nil {
			if err := r.write(ctx, volume, held); err != nil {
				return err
			}
		}
	}
	snapshots, err := snapshotsOf(ctx, r.client, poolName)
	if err != nil {
		return err
	}
	for i := range snapshots {
		snapshot := &snapshots[i]
		held, ok := usage.Volumes[volumeid.SnapshotDevice(snapshot.Name)]
		if ok && snapshot.Status.ThinID != nil && snapshot.DeletionTimestamp == nil {
			if err := r.writeSnapshot(ctx, snapshot, held); err != nil {
				return err
			}
		}
	}
	return nil
}

// write patches a volume's figures if one of them has changed enough for a reader to care.
func (r *usageReporter) write(ctx context.Context, volume *v1alpha1.ThinVolume, held thinpool.Usage) error {
	if !usageChanged(volume.Status.Allocated, held.Mapped) && !usageChanged(volume.Status.Exclusive, held.Exclusive) {
		return nil
	}
	patch := client.MergeFrom(volume.DeepCopy())
	volume.Status.Allocated, volume.Status.Exclusive = bytes(held.Mapped), bytes(held.Exclusive)
	return r.patch(ctx, volume, patch)
}

// writeSnapshot does the same for a snapshot.
func (r *usageReporter) writeSnapshot(ctx context.Context, snapshot *v1alpha1.ThinSnapshot, held thinpool.Usage) error {
	if !usageChanged(snapshot.Status.Allocated, held.Mapped) && !usageChanged(snapshot.Status.Exclusive, held.Exclusive) {
		return nil
	}
	patch := client.MergeFrom(snapshot.DeepCopy())
	snapshot.Status.Allocated, snapshot.Status.Exclusive = bytes(held.Mapped), bytes(held.Exclusive)
	return r.patch(ctx, snapshot, patch)
}

func (r *usageReporter) patch(ctx context.Context, object client.Object, patch client.Patch) error {
	if err := r.client.Status().Patch(ctx, object, patch); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("write status of %s: %w", object.GetName(), err))
	}
	return nil
}

// usageChanged tells whether a figure differs from what was written by at least usagePercent of the larger of the two.
func usageChanged(written *resource.Quantity, now int64) bool {
	if written == nil {
		return true
	}
	before := written.Value()
	larger := max(before, now)
	return larger > 0 && float64(larger-min(before, now)) >= float64(larger)*usagePercent/100
}
