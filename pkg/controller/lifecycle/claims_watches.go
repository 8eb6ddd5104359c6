package lifecycle

import (
	"context"

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
)

func (c *Claims) addTo(mgr manager.Manager) error {
	return builder.ControllerManagedBy(mgr).
		Named("claims").
		WithOptions(controller.Options{RateLimiter: retries[reconcile.Request]()}).
		For(&v1alpha1.ThinVolume{}).
		Watches(&v1alpha1.NodeThinPool{}, handler.EnqueueRequestsFromMapFunc(c.ofPart), builder.WithPredicates(ailmentChanged)).
		Complete(c)
}

// ailmentChanged spares the volumes of a pool the changes of its figures.
var ailmentChanged = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false }, // the volumes themselves begin
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.NodeThinPool)
		now, okNow := e.ObjectNew.(*v1alpha1.NodeThinPool)
		return ok && okNow && ailmentOfPart(before).reason != ailmentOfPart(now).reason
	},
	DeleteFunc: func(event.DeleteEvent) bool { return false },
}

func (c *Claims) ofPart(ctx context.Context, object client.Object) []reconcile.Request {
	part, ok := object.(*v1alpha1.NodeThinPool)
	if !ok {
		return nil
	}
	volumes, err := c.View.Volumes(ctx, part.Spec.PoolName, part.Spec.NodeName)
	if err != nil {
		// The caches are local: this is a programming error, an index that is missing.
		klog.FromContext(ctx).Error(err, "Cannot list the volumes of a pool", "nodeThinPool", part.Name)
	}
	requests := make([]reconcile.Request, len(volumes))
	for i := range volumes {
		requests[i].Name = volumes[i].Name
	}
	return requests
}
