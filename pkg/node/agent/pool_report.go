package agent

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

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
	orphaned, err := orphanedVolumes(ctx, r.client, poolName, pool)
	if err != nil {
		return nil, err
	}
	r.orphans.set(poolName, len(orphaned))
	fillStatus(status, state)
	status.OrphanedVolumes = int32(len(orphaned))
	return poolConditions(state, openErr, orphaned), nil
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
