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

// remove deletes what is left of the group's snapshots and lets its object go. Those that have an object of their own may be gone
// already; those of a group that was taken back before it was acknowledged never had one.
func (r *groupReconciler) remove(ctx context.Context, object *v1alpha1.ThinGroupSnapshot) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(object, v1alpha1.VolumeFinalizer) {
		return reconcile.Result{}, nil
	}
	pool, err := r.finder.pools.Get(object.Spec.PoolName)
	switch {
	case err == nil:
		err = deleteMembers(ctx, pool, object)
	case object.Status.CreationTime == nil && r.finder.neverOpened(ctx, object.Spec.PoolName):
		err = nil
	}
	switch {
	case errors.Is(err, pools.ErrNotOpen):
		klog.FromContext(ctx).Info("Deletion waits for the pool", "group", object.Name, "pool", object.Spec.PoolName, "err", err)
		return reconcile.Result{RequeueAfter: lastVolumeRetry}, r.sayNotReady(ctx, object, err)
	case errors.Is(err, context.Canceled):
		return reconcile.Result{}, err // stopping: no verdict on the group
	case err != nil:
		return reconcile.Result{}, errors.Join(err, r.sayFailed(ctx, object, fmt.Errorf("deletion waits: %w", err)))
	}
	patch := client.MergeFromWithOptions(object.DeepCopy(), client.MergeFromWithOptimisticLock{})
	controllerutil.RemoveFinalizer(object, v1alpha1.VolumeFinalizer)
	return reconcile.Result{}, client.IgnoreNotFound(r.client.Patch(ctx, object, patch))
}

func deleteMembers(ctx context.Context, pool pools.Pool, object *v1alpha1.ThinGroupSnapshot) error {
	members, err := groupMembers(object)
	if errors.Is(err, thinpool.ErrInvalid) {
		return nil // nothing was ever made for it
	}
	if err != nil {
		return err
	}
	for _, member := range members {
		if err := pool.DeleteVolume(ctx, member.Name); err != nil {
			return err
		}
	}
	return nil
}
