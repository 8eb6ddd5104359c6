package agent

import (
	"context"
	"errors"
	"sync"
	"time"

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
	// openPools is how many pools are opened at a time.
	openPools = 4
	// A pool that cannot be opened is tried again after these times, doubling.
	firstPoolRetry = time.Second
	lastPoolRetry  = 30 * time.Second
)

// poolReconciler opens and shuts down the node's pools and keeps their status.
type poolReconciler struct {
	nodeName    string
	client      client.Client
	pools       *pools.Set
	remembered  *remembered
	directories directories
	watchers    *watchers
	queue       *eventQueue
	// volumes is the volumes' queue: those that wait for a pool go on when it is open.
	volumes *eventQueue
	// snapshots and groups are the queues of snapshots and of groups of them.
	snapshots *eventQueue
	groups    *eventQueue
	writes    statusWrites
	orphans   orphanCounts

	mu sync.Mutex
	// announced is the pools whose volumes were told that it is open.
	announced map[string]pools.Pool
}

func (r *poolReconciler) register(m manager.Manager) error {
	deleted := predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(event.UpdateEvent) bool { return false },
	}
	return ctrl.NewControllerManagedBy(m).
		Named("nodethinpool").
		For(&v1alpha1.NodeThinPool{}).
		// A pool that is being deleted waits for its last volume and its last snapshot.
		Watches(&v1alpha1.ThinVolume{}, handler.EnqueueRequestsFromMapFunc(r.poolOfVolume), builder.WithPredicates(deleted)).
		Watches(&v1alpha1.ThinGroupSnapshot{}, handler.EnqueueRequestsFromMapFunc(r.poolOfGroup), builder.WithPredicates(deleted)).
		Watches(&v1alpha1.ThinSnapshot{}, handler.EnqueueRequestsFromMapFunc(r.poolOfSnapshot), builder.WithPredicates(deleted)).
		WatchesRawSource(r.queue.source()).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: openPools,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstPoolRetry, lastPoolRetry),
		}).
		Complete(r)
}

func (r *poolReconciler) poolOfVolume(_ context.Context, object client.Object) []reconcile.Request {
	volume, ok := object.(*v1alpha1.ThinVolume)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: v1alpha1.NodeThinPoolName(volume.Spec.PoolName, r.nodeName)}}}
}

func (r *poolReconciler) poolOfSnapshot(_ context.Context, object client.Object) []reconcile.Request {
	snapshot, ok := object.(*v1alpha1.ThinSnapshot)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: v1alpha1.NodeThinPoolName(snapshot.Spec.PoolName, r.nodeName)}}}
}

func (r *poolReconciler) poolOfGroup(_ context.Context, object client.Object) []reconcile.Request {
	group, ok := object.(*v1alpha1.ThinGroupSnapshot)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: v1alpha1.NodeThinPoolName(group.Spec.PoolName, r.nodeName)}}}
}

// Reconcile brings one pool into the state that its object asks for, and the object's status up to date.
func (r *poolReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	object := &v1alpha1.NodeThinPool{}
	if err := r.client.Get(ctx, request.NamespacedName, object); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if object.Spec.NodeName != r.nodeName {
		return reconcile.Result{}, nil // the selector of the watch lets none through
	}
	if object.DeletionTimestamp != nil {
		return reconcile.Result{}, r.remove(ctx, object)
	}

	openErr := r.openFor(ctx, object)
	if err := r.announce(ctx, object.Spec.PoolName); err != nil {
		return reconcile.Result{}, err
	}
	wanted := object.Status.DeepCopy()
	wanted.ObservedGeneration = object.Generation
	r.describe(ctx, object.Spec.PoolName, openErr, object.Generation, wanted)
	wait, err := r.write(ctx, object, wanted)
	if err != nil {
		return reconcile.Result{}, err
	}
	// With the error the queue's rate limit decides when it is tried again.
	return reconcile.Result{RequeueAfter: wait}, unsettled(openErr)
}

// unsettled is the error for which the queue is to try again. Growing is tried again by the engine whenever the pool is
// looked at, which the watchers see to, and its error is in the pool's status.
func unsettled(openErr error) error {
	if errors.Is(openErr, thinpool.ErrNotGrown) {
		return nil
	}
	return openErr
}

func (r *poolReconciler) openFor(ctx context.Context, object *v1alpha1.NodeThinPool) error {
	config, err := r.directories.config(object.Spec.PoolName, object.Spec.PoolSettings)
	if err != nil {
		r.pools.Expect(object.Spec.PoolName, err)
		return err
	}
	// Before it is opened: what is on its devices then must be found again without the API server.
	if err := r.remembered.put(object.Spec.PoolName, object.Spec.PoolSettings); err != nil {
		return err
	}
	return r.open(ctx, config)
}

// open opens the pool if it is not, and begins to watch it.
func (r *poolReconciler) open(ctx context.Context, config thinpool.Config) error {
	pool, opened, err := r.pools.Open(ctx, config)
	if unsettled(err) != nil || !opened {
		return err
	}
	klog.FromContext(ctx).Info("Pool is open", "pool", config.Name)
	r.watchers.start(config.Name, pool) //nolint:contextcheck // it outlives the reconcile
	return err
}

// announce lets the volumes and snapshots of a pool that is newly open go on: those that wait for it, and the rest to be looked for.
func (r *poolReconciler) announce(ctx context.Context, poolName string) error {
	pool, err := r.pools.Get(poolName)
	if err != nil {
		return nil // not open: nothing to announce
	}
	r.mu.Lock()
	known := r.announced[poolName] == pool
	r.mu.Unlock()
	if known {
		return nil
	}
	volumes, err := volumesOf(ctx, r.client, poolName)
	if err != nil {
		return err
	}
	for _, volume := range volumes {
		r.volumes.add(volume.Name)
	}
	snapshots, err := snapshotsOf(ctx, r.client, poolName)
	if err != nil {
		return err
	}
	for _, snapshot := range snapshots {
		r.snapshots.add(snapshot.Name)
	}
	groups, err := groupsOf(ctx, r.client, poolName)
	if err != nil {
		return err
	}
	for _, group := range groups {
		r.groups.add(group.Name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.announced == nil {
		r.announced = make(map[string]pools.Pool)
	}
	r.announced[poolName] = pool
	return nil
}

// refresh makes a pool's state be written soon, however little it has changed.
func (r *poolReconciler) refresh(poolName string) {
	name := v1alpha1.NodeThinPoolName(poolName, r.nodeName)
	r.writes.forget(name)
	r.queue.add(name)
}
