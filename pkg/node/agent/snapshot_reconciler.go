package agent

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// snapshotReconciler takes and deletes the snapshots of the node's volumes.
type snapshotReconciler struct {
	finder poolFinder
	client client.Client
	queue  *eventQueue
	// refreshPool is the volumeReconciler's.
	refreshPool func(pool string)
}

func (r *snapshotReconciler) register(m manager.Manager) error {
	return ctrl.NewControllerManagedBy(m).
		Named("thinsnapshot").
		For(&v1alpha1.ThinSnapshot{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.NodeThinPool{}, handler.EnqueueRequestsFromMapFunc(r.waitingFor), builder.WithPredicates(predicate.Funcs{
			UpdateFunc: func(e event.UpdateEvent) bool { return becameReady(e.ObjectOld, e.ObjectNew) },
			DeleteFunc: func(event.DeleteEvent) bool { return false },
		})).
		WatchesRawSource(r.queue.source()).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: volumesAtOnce,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstVolumeRetry, lastVolumeRetry),
		}).
		Complete(r)
}

// waitingFor lists the snapshots that wait for a pool.
func (r *snapshotReconciler) waitingFor(ctx context.Context, object client.Object) []reconcile.Request {
	pool, ok := object.(*v1alpha1.NodeThinPool)
	if !ok {
		return nil
	}
	snapshots, err := snapshotsOf(ctx, r.client, pool.Spec.PoolName)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Snapshots in a pool cannot be listed", "pool", pool.Spec.PoolName)
		return nil
	}
	var requests []reconcile.Request
	for _, snapshot := range snapshots {
		if snapshot.DeletionTimestamp != nil || !meta.IsStatusConditionTrue(snapshot.Status.Conditions, v1alpha1.ConditionReady) {
			requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Name: snapshot.Name}})
		}
	}
	return requests
}

// snapshotsOf lists the node's snapshots in a pool.
func snapshotsOf(ctx context.Context, reader client.Reader, poolName string) ([]v1alpha1.ThinSnapshot, error) {
	var list v1alpha1.ThinSnapshotList
	if err := reader.List(ctx, &list); err != nil {
		return nil, err
	}
	snapshots := list.Items[:0]
	for _, snapshot := range list.Items {
		if snapshot.Spec.PoolName == poolName {
			snapshots = append(snapshots, snapshot)
		}
	}
	return snapshots, nil
}

// Reconcile takes the snapshot or deletes it.
func (r *snapshotReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	snapshot := &v1alpha1.ThinSnapshot{}
	if err := r.client.Get(ctx, request.NamespacedName, snapshot); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if snapshot.Spec.NodeName != r.finder.nodeName {
		return reconcile.Result{}, nil // the selector of the watch lets none through
	}
	if snapshot.DeletionTimestamp != nil {
		return r.remove(ctx, snapshot)
	}
	return r.take(ctx, snapshot)
}

// take takes the snapshot unless it was taken, and says so.
func (r *snapshotReconciler) take(ctx context.Context, object *v1alpha1.ThinSnapshot) (reconcile.Result, error) {
	pool, poolID, err := r.finder.find(ctx, object.Spec.PoolName, object.Status.ThinID != nil)
	if errors.Is(err, pools.ErrNotOpen) {
		// It goes on by itself when the pool is open.
		return reconcile.Result{}, r.sayNotReady(ctx, object, err)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	snapshot, err := r.ensure(ctx, pool, poolID, object)
	if err == nil {
		return reconcile.Result{}, r.sayTaken(ctx, object, snapshot, poolID)
	}
	if errors.Is(err, thinpool.ErrNoSpace) {
		r.refreshPool(object.Spec.PoolName)
	}
	if errors.Is(err, context.Canceled) {
		return reconcile.Result{}, err // stopping: no verdict on the snapshot
	}
	_, final := reason(err)
	if writeErr := r.sayFailed(ctx, object, err); writeErr != nil {
		return reconcile.Result{}, writeErr
	}
	if final {
		klog.FromContext(ctx).Info("Snapshot is refused", "snapshot", object.Name, "pool", object.Spec.PoolName, "err", err)
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, err
}

// ensure gives the snapshot, and takes it only if it was never taken.
func (r *snapshotReconciler) ensure(ctx context.Context, pool pools.Pool, poolID string, object *v1alpha1.ThinSnapshot) (thinpool.Volume, error) {
	spec, err := snapshotSpec(object)
	if err != nil {
		return thinpool.Volume{}, err
	}
	switch {
	case object.Status.ThinID == nil && object.Spec.GroupName != "":
		return ofGroup(pool, spec)
	case object.Status.ThinID == nil:
		return pool.CreateVolume(ctx, spec)
	}
	return sameDevice(pool, spec.Name, poolID, object.Status.PoolID, *object.Status.ThinID)
}

// ofGroup gives a snapshot that its group has taken. One that the pool does not hold is lost: taken now it would be of another
// moment than the others.
func ofGroup(pool pools.Pool, spec thinpool.VolumeSpec) (thinpool.Volume, error) {
	snapshot, err := pool.Volume(spec.Name)
	if err == nil && snapshot.Source != spec.Source {
		err = fmt.Errorf("%w: it is of %q and not of %q", thinpool.ErrVolumeNotFound, snapshot.Source, spec.Source)
	}
	return snapshot, err
}
