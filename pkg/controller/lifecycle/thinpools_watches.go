package lifecycle

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

func (t *ThinPools) addTo(mgr manager.Manager) error {
	return builder.ControllerManagedBy(mgr).
		Named("thinpool").
		WithOptions(controller.Options{RateLimiter: retries[reconcile.Request]()}).
		For(&v1alpha1.ThinPool{}).
		Watches(&v1alpha1.NodeThinPool{}, gather(t.ofPart)).
		Watches(&corev1.Node{}, gather(t.ofNode)).
		Watches(&corev1.Pod{}, gather(t.ofAgent)).
		Watches(&v1alpha1.ThinVolume{}, gather(t.ofVolume), builder.WithPredicates(onlyDeletions)).
		Complete(t)
}

// gather queues the ThinPools that a change touches, once for all changes within the interval.
func gather(touched func(context.Context, client.Object) ([]string, error)) handler.EventHandler {
	add := func(ctx context.Context, object client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		pools, err := touched(ctx, object)
		if err != nil {
			// The caches are local: this is a programming error, an index that is missing.
			klog.FromContext(ctx).Error(err, "Cannot tell which pools a change touches", "object", klog.KObj(object))
		}
		for _, pool := range pools {
			q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKey{Name: pool}}, summaryInterval)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, e.Object, q)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, e.ObjectNew, q)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, e.Object, q)
		},
	}
}

func (t *ThinPools) ofPart(_ context.Context, object client.Object) ([]string, error) {
	return []string{object.(*v1alpha1.NodeThinPool).Spec.PoolName}, nil
}

func (t *ThinPools) ofVolume(_ context.Context, object client.Object) ([]string, error) {
	return []string{object.(*v1alpha1.ThinVolume).Spec.PoolName}, nil
}

// ofNode are all ThinPools: a label may have changed.
func (t *ThinPools) ofNode(ctx context.Context, _ client.Object) ([]string, error) {
	pools, err := t.View.ThinPools(ctx)
	names := make([]string, len(pools))
	for i := range pools {
		names[i] = pools[i].Name
	}
	return names, err
}

func (t *ThinPools) ofAgent(ctx context.Context, object client.Object) ([]string, error) {
	parts, err := t.View.PoolsOfNode(ctx, object.(*corev1.Pod).Spec.NodeName)
	names := make([]string, len(parts))
	for i := range parts {
		names[i] = parts[i].Spec.PoolName
	}
	return names, err
}
