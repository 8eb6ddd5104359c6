package lifecycle

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

func (c *Classes) addTo(mgr manager.Manager) error {
	return builder.ControllerManagedBy(mgr).
		Named("storageclass").
		WithOptions(controller.Options{RateLimiter: retries[reconcile.Request]()}).
		Watches(&storagev1.StorageClass{}, settled(c.ofClass)).
		Watches(&corev1.PersistentVolumeClaim{}, settled(c.ofClaim)).
		Watches(&v1alpha1.ThinPool{}, settled(c.ofPool), builder.WithPredicates(comings)).
		Watches(&v1alpha1.NodeThinPool{}, settled(c.ofPool), builder.WithPredicates(comings)).
		Complete(c)
}

// comings are objects that come and go, without what happens to them in between.
var comings = predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}

// settled queues the classes that a change touches, once it has had time to settle.
func settled(touched func(context.Context, client.Object) []string) handler.EventHandler {
	add := func(ctx context.Context, object client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		for _, class := range touched(ctx, object) {
			q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKey{Name: class}}, settling)
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

func (c *Classes) ofClass(_ context.Context, object client.Object) []string {
	if object.(*storagev1.StorageClass).Provisioner != v1alpha1.DriverName {
		return nil
	}
	return []string{object.GetName()}
}

func (c *Classes) ofClaim(_ context.Context, object client.Object) []string {
	if class := view.PendingClassOf(object.(*corev1.PersistentVolumeClaim)); class != "" {
		return []string{class}
	}
	return nil
}

// ofPool are all classes: one may name a pool that is not this one, and the event says which pools there are.
func (c *Classes) ofPool(ctx context.Context, _ client.Object) []string {
	classes, err := c.View.AllClasses(ctx)
	if err != nil {
		// The caches are local: this is a programming error.
		klog.FromContext(ctx).Error(err, "Cannot list StorageClasses")
	}
	return classes
}
