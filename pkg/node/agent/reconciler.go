package agent

import (
	"context"
	"errors"
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
	// objectsAtOnce lets requests gather: the engine commits those that wait at the same time together.
	objectsAtOnce = 32
	// What could not be made or deleted is tried again after these times, doubling.
	firstRetry = 200 * time.Millisecond
	lastRetry  = 30 * time.Second
	// inUseRetry is how long a deletion waits for a volume that is in use, if its release is not noticed.
	inUseRetry = 10 * time.Second
)

// reconciler makes, changes and deletes what the node's objects of one kind stand for.
type reconciler[T inPool[T]] struct {
	poolFinder
	kind  kind[T]
	queue *eventQueue
	// refreshPool makes a pool say at once how much room it has: after a refusal everybody must know.
	refreshPool func(pool string)
}

func newReconciler[T inPool[T]](kind kind[T], finder poolFinder, refreshPool func(pool string)) *reconciler[T] {
	return &reconciler[T]{poolFinder: finder, kind: kind, queue: &eventQueue{}, refreshPool: refreshPool}
}

func (r *reconciler[T]) register(m manager.Manager) error {
	return ctrl.NewControllerManagedBy(m).
		Named(r.kind.name()).
		For(r.kind.empty(), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.NodeThinPool{}, handler.EnqueueRequestsFromMapFunc(r.waitingFor), builder.WithPredicates(predicate.Funcs{
			UpdateFunc: func(e event.UpdateEvent) bool { return becameReady(e.ObjectOld, e.ObjectNew) },
			DeleteFunc: func(event.DeleteEvent) bool { return false },
		})).
		WatchesRawSource(r.queue.source()).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: objectsAtOnce,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry),
		}).
		Complete(r)
}

// becameReady tells whether objects that waited for the pool may go on.
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

// waitingFor lists the objects that wait for a pool.
func (r *reconciler[T]) waitingFor(ctx context.Context, object client.Object) []reconcile.Request {
	pool, ok := object.(*v1alpha1.NodeThinPool)
	if !ok {
		return nil
	}
	objects, err := r.kind.list(ctx, r.client, pool.Spec.PoolName)
	if err != nil {
		klog.FromContext(ctx).Error(err, "What a pool holds cannot be listed", "kind", r.kind.name(), "pool", pool.Spec.PoolName)
		return nil
	}
	var requests []reconcile.Request
	for _, object := range objects {
		about := r.kind.about(object)
		if object.GetDeletionTimestamp() != nil || about.changing || !meta.IsStatusConditionTrue(*about.conditions, v1alpha1.ConditionReady) {
			requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Name: object.GetName()}})
		}
	}
	return requests
}

// Reconcile makes what the object stands for, changes it or deletes it.
func (r *reconciler[T]) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	object := r.kind.empty()
	if err := r.client.Get(ctx, request.NamespacedName, object); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	about := r.kind.about(object)
	if about.nodeName != r.nodeName {
		return reconcile.Result{}, nil // the selector of the watch lets none through
	}
	if object.GetDeletionTimestamp() != nil {
		return r.remove(ctx, object, about)
	}
	if about.settled {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, r.ensure(ctx, object, about)
}

// ensure has the object's status say what became of it. An error is one after which it is of use to try again.
func (r *reconciler[T]) ensure(ctx context.Context, object T, about about) error {
	pool, poolID, err := r.find(ctx, about.poolName, about.made)
	if errors.Is(err, pools.ErrNotOpen) {
		// It goes on by itself when the pool is open. What is ready stays so: its pool says what is wrong.
		return r.sayNotReady(ctx, object, about, err)
	}
	if err != nil {
		return err
	}
	found, err := r.kind.ensure(ctx, pool, poolID, object)
	if errors.Is(err, context.Canceled) {
		return err // stopping: no verdict on the object
	}
	if errors.Is(err, thinpool.ErrNoSpace) {
		r.refreshPool(about.poolName)
	}
	var writeErr error
	if found != nil {
		writeErr = r.sayReady(ctx, object, found)
	} else {
		writeErr = r.sayFailed(ctx, object, err)
	}
	if writeErr != nil {
		return writeErr
	}
	if _, final := reason(err); final {
		klog.FromContext(ctx).Info("Request is refused", r.kind.name(), object.GetName(), "pool", about.poolName, "err", err)
		return nil
	}
	return err
}
