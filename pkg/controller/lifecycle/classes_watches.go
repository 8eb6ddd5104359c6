package lifecycle

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
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
		Watches(&storagev1.StorageClass{}, gather(settling, c.ofClass)).
		Watches(&corev1.PersistentVolumeClaim{}, gather(settling, c.ofClaim)).
		Watches(&v1alpha1.ThinPool{}, gather(settling, c.ofPool), builder.WithPredicates(comings)).
		Watches(&v1alpha1.NodeThinPool{}, gather(settling, c.ofPool), builder.WithPredicates(comings)).
		Complete(c)
}

// comings are objects that come and go, without what happens to them in between.
var comings = predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}

func (c *Classes) ofClass(_ context.Context, object client.Object) ([]string, error) {
	if object.(*storagev1.StorageClass).Provisioner != v1alpha1.DriverName {
		return nil, nil
	}
	return []string{object.GetName()}, nil
}

func (c *Classes) ofClaim(_ context.Context, object client.Object) ([]string, error) {
	if class := view.PendingClassOf(object.(*corev1.PersistentVolumeClaim)); class != "" {
		return []string{class}, nil
	}
	return nil, nil
}

// ofPool are all classes: one may name a pool that is not this one, and the event says which pools there are.
func (c *Classes) ofPool(ctx context.Context, _ client.Object) ([]string, error) {
	return c.View.AllClasses(ctx)
}
