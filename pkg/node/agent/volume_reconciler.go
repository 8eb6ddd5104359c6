package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

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

const (
	// volumesAtOnce lets requests gather: the engine commits those that wait at the same time together.
	volumesAtOnce = 32
	// A volume that could not be made or deleted is tried again after these times, doubling.
	firstVolumeRetry = 200 * time.Millisecond
	lastVolumeRetry  = 30 * time.Second
	// inUseRetry is how long a deletion waits for a volume that is in use, if its release is not noticed.
	inUseRetry = 10 * time.Second
)

// volumeReconciler makes, grows and deletes the node's volumes.
type volumeReconciler struct {
	nodeName string
	client   client.Client
	pools    *pools.Set
	queue    *eventQueue
	// refreshPool makes a pool say at once how much room it has: after a refusal everybody must know.
	refreshPool func(pool string)
}

func (r *volumeReconciler) register(m manager.Manager) error {
	return ctrl.NewControllerManagedBy(m).
		Named("thinvolume").
		For(&v1alpha1.ThinVolume{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
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

func (r *volumeReconciler) finder() poolFinder {
	return poolFinder{nodeName: r.nodeName, client: r.client, pools: r.pools}
}

// becameReady tells whether volumes that waited for the pool may go on.
func becameReady(old, now client.Object) bool {
	before, ok := old.(*v1alpha1.NodeThinPool)
	after, okNow := now.(*v1alpha1.NodeThinPool)
	if !ok || !okNow {
		return false
	}
	ready := func(p *v1alpha1.NodeThinPool) bool {
		return p.Status.PoolID != "" && meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady)
	}
	return ready(after) && !ready(before)
}

// waitingFor lists the volumes that wait for a pool.
func (r *volumeReconciler) waitingFor(ctx context.Context, object client.Object) []reconcile.Request {
	pool, ok := object.(*v1alpha1.NodeThinPool)
	if !ok {
		return nil
	}
	volumes, err := volumesOf(ctx, r.client, pool.Spec.PoolName)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Volumes of a pool cannot be listed", "pool", pool.Spec.PoolName)
		return nil
	}
	var requests []reconcile.Request
	for _, volume := range volumes {
		if volume.DeletionTimestamp != nil || !meta.IsStatusConditionTrue(volume.Status.Conditions, v1alpha1.ConditionReady) || growing(&volume) {
			requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Name: volume.Name}})
		}
	}
	return requests
}

// Reconcile makes the volume, grows it or deletes it.
func (r *volumeReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	volume := &v1alpha1.ThinVolume{}
	if err := r.client.Get(ctx, request.NamespacedName, volume); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if volume.Spec.NodeName != r.nodeName {
		return reconcile.Result{}, nil // the selector of the watch lets none through
	}
	if volume.DeletionTimestamp != nil {
		return r.remove(ctx, volume)
	}
	return r.make(ctx, volume)
}

// make makes the volume unless it exists, grows it where it is smaller than it should be, and says so.
func (r *volumeReconciler) make(ctx context.Context, object *v1alpha1.ThinVolume) (reconcile.Result, error) {
	pool, poolID, err := r.finder().find(ctx, object.Spec.PoolName, object.Status.ThinID != nil)
	if errors.Is(err, pools.ErrNotOpen) {
		// It goes on by itself when the pool is open. One that is ready stays so: its pool says what is wrong.
		return reconcile.Result{}, r.sayNotReady(ctx, object, err)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	volume, err := r.ensure(ctx, pool, poolID, object)
	if err == nil {
		return reconcile.Result{}, r.grow(ctx, pool, poolID, object, volume)
	}
	if errors.Is(err, thinpool.ErrNoSpace) {
		r.refreshPool(object.Spec.PoolName)
	}
	if errors.Is(err, context.Canceled) {
		return reconcile.Result{}, err // stopping: no verdict on the volume
	}
	_, final := reason(err)
	if writeErr := r.sayFailed(ctx, object, err); writeErr != nil {
		return reconcile.Result{}, writeErr
	}
	if final {
		klog.FromContext(ctx).Info("Volume is refused", "volume", object.Name, "pool", object.Spec.PoolName, "err", err)
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, err
}

// ensure gives the volume, and makes it only if it was never made.
func (r *volumeReconciler) ensure(ctx context.Context, pool pools.Pool, poolID string, object *v1alpha1.ThinVolume) (thinpool.Volume, error) {
	spec, err := volumeSpec(object)
	if err != nil {
		return thinpool.Volume{}, err
	}
	if object.Status.ThinID == nil {
		return pool.CreateVolume(ctx, spec)
	}
	return sameDevice(pool, spec.Name, poolID, object.Status.PoolID, *object.Status.ThinID)
}

// sameDevice gives a thin device that was made before, which must still be the one that it was then.
func sameDevice(pool pools.Pool, name, poolID, madeIn string, madeAs int64) (thinpool.Volume, error) {
	if madeIn != poolID {
		return thinpool.Volume{}, fmt.Errorf("%w: it was made in pool %s, this one is %s", thinpool.ErrVolumeNotFound, madeIn, poolID)
	}
	volume, err := pool.Volume(name)
	if err != nil {
		return thinpool.Volume{}, err
	}
	if int64(volume.ThinID) != madeAs {
		return thinpool.Volume{}, fmt.Errorf("%w: it was made with thin id %d, the pool's registry has %d", thinpool.ErrVolumeNotFound, madeAs, volume.ThinID)
	}
	return volume, nil
}
