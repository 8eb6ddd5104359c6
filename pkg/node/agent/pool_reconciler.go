package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
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
	writes  statusWrites

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
		// A pool that is being deleted waits for its last volume.
		Watches(&v1alpha1.ThinVolume{}, handler.EnqueueRequestsFromMapFunc(r.poolOfVolume), builder.WithPredicates(deleted)).
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
	return reconcile.Result{RequeueAfter: wait}, openErr
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
	if err != nil || !opened {
		return err
	}
	klog.FromContext(ctx).Info("Pool is open", "pool", config.Name)
	r.watchers.start(config.Name, pool)
	return nil
}

// announce lets the volumes of a pool that is newly open go on: those that wait for it, and the rest to be looked for.
func (r *poolReconciler) announce(ctx context.Context, poolName string) error {
	pool, err := r.pools.Get(poolName)
	if err != nil {
		return nil //nolint:nilerr // not open: nothing to announce
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

// describe writes the pool's state into status.
func (r *poolReconciler) describe(ctx context.Context, poolName string, openErr error, generation int64, status *v1alpha1.NodeThinPoolStatus) {
	conditions, err := r.state(ctx, poolName, openErr, status)
	if err != nil {
		conditions = notReadyConditions(err)
	}
	for _, condition := range conditions {
		condition.ObservedGeneration = generation
		meta.SetStatusCondition(&status.Conditions, condition)
	}
}

// state asks the pool for its state. An error is why there is none.
func (r *poolReconciler) state(ctx context.Context, poolName string, openErr error, status *v1alpha1.NodeThinPoolStatus) ([]metav1.Condition, error) {
	pool, err := r.pools.Get(poolName)
	if err != nil {
		if openErr != nil {
			err = openErr
		}
		return nil, err
	}
	state, err := pool.Status(ctx)
	if err != nil {
		return nil, err
	}
	if status.PoolID != "" && status.PoolID != state.PoolID {
		return nil, fmt.Errorf("%w: the devices carry pool %s, the volumes that the cluster knows are in pool %s",
			thinpool.ErrSourceChanged, state.PoolID, status.PoolID)
	}
	fillStatus(status, state)
	return poolConditions(state, openErr), nil
}

// write patches the status if a reader is served by it; if not yet, it says when to look again.
func (r *poolReconciler) write(ctx context.Context, object *v1alpha1.NodeThinPool, wanted *v1alpha1.NodeThinPoolStatus) (wait time.Duration, err error) {
	if equality.Semantic.DeepEqual(&object.Status, wanted) {
		return 0, nil
	}
	if !matters(&object.Status, wanted) {
		if wait := r.writes.due(object.Name, time.Now()); wait > 0 {
			return wait, nil
		}
	}
	wasReady := meta.IsStatusConditionTrue(object.Status.Conditions, v1alpha1.ConditionReady)
	patch := client.MergeFrom(object.DeepCopy())
	object.Status = *wanted
	if err := r.client.Status().Patch(ctx, object, patch); err != nil {
		return 0, fmt.Errorf("write status of %s: %w", object.Name, err)
	}
	r.writes.done(object.Name, time.Now())
	if isReady := meta.IsStatusConditionTrue(wanted.Conditions, v1alpha1.ConditionReady); isReady && !wasReady {
		klog.FromContext(ctx).Info("Pool is ready", "pool", object.Spec.PoolName)
	}
	return 0, nil
}

// remove shuts the pool down once it has no volume, and lets its object go. The devices keep what they hold.
func (r *poolReconciler) remove(ctx context.Context, object *v1alpha1.NodeThinPool) error {
	if !controllerutil.ContainsFinalizer(object, v1alpha1.PoolFinalizer) {
		return nil
	}
	poolName := object.Spec.PoolName
	volumes, err := volumesOf(ctx, r.client, poolName)
	if err != nil {
		return err
	}
	if len(volumes) > 0 {
		return r.waitForVolumes(ctx, object, len(volumes))
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
		if err := r.openFor(ctx, object); err != nil {
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

func (r *poolReconciler) waitForVolumes(ctx context.Context, object *v1alpha1.NodeThinPool, volumes int) error {
	// They must be reachable until then, also after a restart.
	openErr := r.openFor(ctx, object)
	wanted := object.Status.DeepCopy()
	r.describe(ctx, object.Spec.PoolName, openErr, object.Generation, wanted)
	meta.SetStatusCondition(&wanted.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionAdmitting, Status: metav1.ConditionFalse, Reason: reasonDeleting, ObservedGeneration: object.Generation,
		Message: fmt.Sprintf("The pool is being deleted and waits for its %d volumes.", volumes),
	})
	if _, err := r.write(ctx, object, wanted); err != nil {
		return err
	}
	return openErr
}

// volumesOf lists the node's volumes in a pool.
func volumesOf(ctx context.Context, reader client.Reader, poolName string) ([]v1alpha1.ThinVolume, error) {
	var list v1alpha1.ThinVolumeList
	if err := reader.List(ctx, &list); err != nil {
		return nil, err
	}
	volumes := list.Items[:0]
	for _, volume := range list.Items {
		if volume.Spec.PoolName == poolName {
			volumes = append(volumes, volume)
		}
	}
	return volumes, nil
}
