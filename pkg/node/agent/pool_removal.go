package agent

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// remove shuts the pool down once it has no volume and no snapshot, and lets its object go. The devices keep what they hold.
func (r *poolReconciler) remove(ctx context.Context, object *v1alpha1.NodeThinPool) error {
	if !controllerutil.ContainsFinalizer(object, v1alpha1.PoolFinalizer) {
		return nil
	}
	poolName := object.Spec.PoolName
	volumes, err := volumesOf(ctx, r.client, poolName)
	if err != nil {
		return err
	}
	snapshots, err := snapshotsOf(ctx, r.client, poolName)
	if err != nil {
		return err
	}
	groups, err := groupsOf(ctx, r.client, poolName)
	if err != nil {
		return err
	}
	inline := r.inlineVolumes(poolName)
	if len(volumes)+inline+len(snapshots)+len(groups) > 0 {
		return r.waitForVolumes(ctx, object, len(volumes)+inline, len(snapshots))
	}
	if err := r.shutDown(ctx, object); err != nil {
		return err
	}
	// Not before: after a crash on the way the pool is opened again, and shut down to the end.
	if err := r.remembered.forget(poolName); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Pool is shut down, its devices keep what they hold", "pool", poolName)
	r.writes.forget(object.Name)
	patch := client.MergeFromWithOptions(object.DeepCopy(), client.MergeFromWithOptimisticLock{})
	controllerutil.RemoveFinalizer(object, v1alpha1.PoolFinalizer)
	return client.IgnoreNotFound(r.client.Patch(ctx, object, patch))
}

// shutDown removes the pool's kernel devices.
func (r *poolReconciler) shutDown(ctx context.Context, object *v1alpha1.NodeThinPool) error {
	poolName := object.Spec.PoolName
	if _, err := r.pools.Get(poolName); err != nil && object.Status.PoolID != "" {
		// It was open once and may have left devices behind.
		if err := unsettled(r.openFor(ctx, object)); err != nil {
			if !nothingToShutDown(err) {
				return err
			}
			klog.FromContext(ctx).Info("Pool cannot be opened any more, there is nothing to shut down", "pool", poolName, "err", err)
		}
	}
	if err := r.pools.Shutdown(ctx, poolName); err != nil {
		return err
	}
	r.watchers.stop(poolName)
	return nil
}

// nothingToShutDown tells of an error of opening a pool that its devices are gone or not the pool's any more.
func nothingToShutDown(err error) bool {
	for _, gone := range []error{
		thinpool.ErrDeviceNotFound, thinpool.ErrForeignPool, thinpool.ErrSourceChanged, thinpool.ErrSignatureFound, thinpool.ErrInvalid,
	} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

func (r *poolReconciler) waitForVolumes(ctx context.Context, object *v1alpha1.NodeThinPool, volumes, snapshots int) error {
	// They must be reachable until then, also after a restart.
	openErr := r.openFor(ctx, object)
	wanted := object.Status.DeepCopy()
	r.describe(ctx, object.Spec.PoolName, openErr, object.Generation, wanted)
	meta.SetStatusCondition(&wanted.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionAdmitting, Status: metav1.ConditionFalse, Reason: reasonDeleting, ObservedGeneration: object.Generation,
		Message: fmt.Sprintf("The pool is being deleted and waits for its %d volumes and %d snapshots.", volumes, snapshots),
	})
	if _, err := r.write(ctx, object, wanted); err != nil {
		return err
	}
	return unsettled(openErr)
}

// inlineVolumes counts the pods' own volumes in a pool that is open. When one goes the pool is looked at again.
func (r *poolReconciler) inlineVolumes(poolName string) int {
	pool, err := r.pools.Get(poolName)
	if err != nil {
		return 0
	}
	count := 0
	for _, volume := range pool.Volumes() {
		if volume.Owner != "" {
			count++
		}
	}
	return count
}
