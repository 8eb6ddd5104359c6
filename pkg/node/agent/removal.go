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
)

// remove deletes what the object stands for and lets the object go.
func (r *reconciler[T]) remove(ctx context.Context, object T, about about) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(object, v1alpha1.VolumeFinalizer) {
		return reconcile.Result{}, nil
	}
	err := r.removeFromPool(ctx, object, about)
	switch {
	case errors.Is(err, pools.ErrNotOpen):
		klog.FromContext(ctx).Info("Deletion waits for the pool", r.kind.name(), object.GetName(), "pool", about.poolName, "err", err)
		return reconcile.Result{RequeueAfter: lastRetry}, r.sayWaiting(ctx, object, err)
	case errors.Is(err, thinpool.ErrVolumeInUse):
		return reconcile.Result{RequeueAfter: inUseRetry}, r.sayWaiting(ctx, object, err)
	case errors.Is(err, context.Canceled):
		return reconcile.Result{}, err // stopping: no verdict on the object
	case err != nil:
		return reconcile.Result{}, errors.Join(err, r.sayWaiting(ctx, object, err))
	}
	patch := client.MergeFromWithOptions(object.DeepCopy(), client.MergeFromWithOptimisticLock{})
	controllerutil.RemoveFinalizer(object, v1alpha1.VolumeFinalizer)
	return reconcile.Result{}, client.IgnoreNotFound(r.client.Patch(ctx, object, patch))
}

func (r *reconciler[T]) removeFromPool(ctx context.Context, object T, about about) error {
	if !r.kind.valid(object) {
		return nil // Nothing was ever made for it, and what has its name in the pool, if anything has, is another's.
	}
	pool, err := r.pools.Get(about.poolName)
	if err == nil {
		return r.kind.remove(ctx, pool, object)
	}
	if !about.made && r.neverOpened(ctx, about.poolName) {
		return nil
	}
	return err
}

// sayWaiting says what the deletion waits for. While the pool is being opened for the first time there is nothing to say.
func (r *reconciler[T]) sayWaiting(ctx context.Context, object T, err error) error {
	if beingOpened(err) {
		return nil
	}
	return r.sayFailed(ctx, object, fmt.Errorf("deletion waits: %w", err))
}
