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
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// remove deletes the snapshot and lets its object go. Volumes that were made from it do not notice.
func (r *snapshotReconciler) remove(ctx context.Context, object *v1alpha1.ThinSnapshot) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(object, v1alpha1.VolumeFinalizer) {
		return reconcile.Result{}, nil
	}
	pool, err := r.finder.pools.Get(object.Spec.PoolName)
	switch {
	case err == nil:
		err = pool.DeleteVolume(ctx, volumeid.SnapshotDevice(object.Name))
	case object.Status.ThinID == nil && r.finder.neverOpened(ctx, object.Spec.PoolName):
		err = nil
	}
	switch {
	case errors.Is(err, pools.ErrNotOpen):
		klog.FromContext(ctx).Info("Deletion waits for the pool", "snapshot", object.Name, "pool", object.Spec.PoolName, "err", err)
		return reconcile.Result{RequeueAfter: lastVolumeRetry}, r.sayWaiting(ctx, object, err)
	case errors.Is(err, context.Canceled):
		return reconcile.Result{}, err // stopping: no verdict on the snapshot
	case err != nil:
		return reconcile.Result{}, errors.Join(err, r.sayWaiting(ctx, object, err))
	}
	patch := client.MergeFromWithOptions(object.DeepCopy(), client.MergeFromWithOptimisticLock{})
	controllerutil.RemoveFinalizer(object, v1alpha1.VolumeFinalizer)
	return reconcile.Result{}, client.IgnoreNotFound(r.client.Patch(ctx, object, patch))
}

// sayWaiting says what the deletion waits for. While the pool is being opened for the first time there is nothing to say.
func (r *snapshotReconciler) sayWaiting(ctx context.Context, object *v1alpha1.ThinSnapshot, err error) error {
	var notOpen *pools.NotOpenError
	if errors.As(err, &notOpen) && notOpen.Cause == nil {
		return nil
	}
	return r.sayFailed(ctx, object, fmt.Errorf("deletion waits: %w", err))
}
