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
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// groupReconciler takes snapshots of several volumes of the node at one moment.
type groupReconciler struct {
	finder poolFinder
	client client.Client
	queue  *eventQueue
	// refreshPool is the volumeReconciler's.
	refreshPool func(pool string)
}

func (r *groupReconciler) register(m manager.Manager) error {
	return ctrl.NewControllerManagedBy(m).
		Named("thingroupsnapshot").
		For(&v1alpha1.ThinGroupSnapshot{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
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

// waitingFor lists the groups that wait for a pool.
func (r *groupReconciler) waitingFor(ctx context.Context, object client.Object) []reconcile.Request {
	pool, ok := object.(*v1alpha1.NodeThinPool)
	if !ok {
		return nil
	}
	groups, err := groupsOf(ctx, r.client, pool.Spec.PoolName)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Groups of snapshots in a pool cannot be listed", "pool", pool.Spec.PoolName)
		return nil
	}
	var requests []reconcile.Request
	for _, group := range groups {
		if group.DeletionTimestamp != nil || !meta.IsStatusConditionTrue(group.Status.Conditions, v1alpha1.ConditionReady) {
			requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Name: group.Name}})
		}
	}
	return requests
}

// groupsOf lists the node's groups in a pool.
func groupsOf(ctx context.Context, reader client.Reader, poolName string) ([]v1alpha1.ThinGroupSnapshot, error) {
	var list v1alpha1.ThinGroupSnapshotList
	if err := reader.List(ctx, &list); err != nil {
		return nil, err
	}
	groups := list.Items[:0]
	for _, group := range list.Items {
		if group.Spec.PoolName == poolName {
			groups = append(groups, group)
		}
	}
	return groups, nil
}

// Reconcile takes the group or deletes it.
func (r *groupReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	group := &v1alpha1.ThinGroupSnapshot{}
	if err := r.client.Get(ctx, request.NamespacedName, group); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if group.Spec.NodeName != r.finder.nodeName {
		return reconcile.Result{}, nil // the selector of the watch lets none through
	}
	if group.DeletionTimestamp != nil {
		return r.remove(ctx, group)
	}
	if group.Status.CreationTime != nil {
		return reconcile.Result{}, nil // taken: its snapshots have objects of their own
	}
	return r.take(ctx, group)
}

// take takes the group, and says so.
func (r *groupReconciler) take(ctx context.Context, object *v1alpha1.ThinGroupSnapshot) (reconcile.Result, error) {
	pool, _, err := r.finder.find(ctx, object.Spec.PoolName, false)
	if errors.Is(err, pools.ErrNotOpen) {
		// It goes on by itself when the pool is open.
		return reconcile.Result{}, r.sayNotReady(ctx, object, err)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	members, err := groupMembers(object)
	var group thinpool.Group
	if err == nil {
		group, err = pool.SnapshotGroup(ctx, members)
	}
	if err == nil {
		return reconcile.Result{}, r.sayTaken(ctx, object, group)
	}
	if errors.Is(err, thinpool.ErrNoSpace) {
		r.refreshPool(object.Spec.PoolName)
	}
	if errors.Is(err, context.Canceled) {
		return reconcile.Result{}, err // stopping: no verdict on the group
	}
	_, final := reason(err)
	if writeErr := r.sayFailed(ctx, object, err); writeErr != nil {
		return reconcile.Result{}, writeErr
	}
	if final {
		klog.FromContext(ctx).Info("Group of snapshots is refused", "group", object.Name, "pool", object.Spec.PoolName, "err", err)
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, err
}

// groupMembers are what the engine is asked for. Errors match thinpool.ErrInvalid and name the field.
func groupMembers(object *v1alpha1.ThinGroupSnapshot) ([]thinpool.GroupMember, error) {
	var members []thinpool.GroupMember
	for i, member := range object.Spec.Members {
		field := fmt.Sprintf("spec.members[%d]", i)
		if err := errors.Join(
			volumeid.CheckSnapshot(field+".snapshotName", member.SnapshotName), volumeid.Check(field+".volumeName", member.VolumeName),
		); err != nil {
			return nil, fmt.Errorf("%w: %w", thinpool.ErrInvalid, err)
		}
		members = append(members, thinpool.GroupMember{Name: volumeid.SnapshotDevice(member.SnapshotName), Source: member.VolumeName})
	}
	return members, nil
}
