package lifecycle

import (
	"context"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// gather queues the objects, by name, that a change of another touches, once for all changes within an interval.
func gather(interval time.Duration, touched func(context.Context, client.Object) ([]string, error)) handler.EventHandler {
	add := func(ctx context.Context, object client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		names, err := touched(ctx, object)
		if err != nil {
			// The caches are local: this is a programming error, an index that is missing.
			klog.FromContext(ctx).Error(err, "Cannot tell what a change touches", "object", klog.KObj(object))
		}
		for _, name := range names {
			q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKey{Name: name}}, interval)
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
