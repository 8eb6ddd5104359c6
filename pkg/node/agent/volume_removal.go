package agent

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// remove deletes the volume and lets its object go.
func (r *volumeReconciler) remove(ctx context.Context, object *v1alpha1.ThinVolume) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(object, v1alpha1.VolumeFinalizer) {
		return reconcile.Result{}, nil
	}
	pool, err := r.pools.Get(object.Spec.PoolName)
	switch {
	case volumeid.Check("metadata.name", object.Name) != nil:
		// No volume was ever made for it, and what has its name in the pool is a snapshot's.
		err = nil
	case err == nil:
		err = deleteUnowned(ctx, pool, object.Name)
	case object.Status.ThinID == nil && r.finder().neverOpened(ctx, object.Spec.PoolName):
		err = nil
	}
	switch {
	case errors.Is(err, pools.ErrNotOpen):
		klog.FromContext(ctx).Info("Deletion waits for the pool", "volume", object.Name, "pool", object.Spec.PoolName, "err", err)
		return reconcile.Result{RequeueAfter: lastVolumeRetry}, r.sayWaiting(ctx, object, err)
	case errors.Is(err, thinpool.ErrVolumeInUse):
		return reconcile.Result{RequeueAfter: inUseRetry}, r.sayWaiting(ctx, object, err)
	case errors.Is(err, context.Canceled):
		return reconcile.Result{}, err // stopping: no verdict on the volume
	case err != nil:
		return reconcile.Result{}, errors.Join(err, r.sayWaiting(ctx, object, err))
	}
	patch := client.MergeFromWithOptions(object.DeepCopy(), client.MergeFromWithOptimisticLock{})
	controllerutil.RemoveFinalizer(object, v1alpha1.VolumeFinalizer)
	return reconcile.Result{}, client.IgnoreNotFound(r.client.Patch(ctx, object, patch))
}

// sayWaiting says what the deletion waits for. While the pool is being opened for the first time there is nothing to say.
func (r *volumeReconciler) sayWaiting(ctx context.Context, object *v1alpha1.ThinVolume, err error) error {
	var notOpen *pools.NotOpenError
	if errors.As(err, &notOpen) && notOpen.Cause == nil {
		return nil
	}
	return r.sayFailed(ctx, object, fmt.Errorf("deletion waits: %w", err))
}

// deleteUnowned deletes the volume, unless the name is that of a pod's inline volume, which no object stands for.
func deleteUnowned(ctx context.Context, pool pools.Pool, name string) error {
	if volume, err := pool.Volume(name); err == nil && volume.Owner != "" {
		return nil
	}
	return pool.DeleteVolume(ctx, name)
}
