package capacity

import (
	"context"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// Sweeper deletes the capacity objects of the driver's namespace that mislead the scheduler: it takes the first object that
// suffices, so one that is stale or double is worse than none. It runs on the leader.
type Sweeper struct {
	publisher *Publisher
}

func addSweeper(mgr manager.Manager, publisher *Publisher) error {
	s := &Sweeper{publisher: publisher}
	return builder.ControllerManagedBy(mgr).
		Named("capacity-sweeper").
		For(&storagev1.CSIStorageCapacity{}).
		// An object loses its right when its owner or its class goes.
		Watches(&v1alpha1.NodeThinPool{}, handler.EnqueueRequestsFromMapFunc(s.ofPart), builder.WithPredicates(deletions)).
		Watches(&storagev1.StorageClass{}, handler.EnqueueRequestsFromMapFunc(s.ofClass)).
		Complete(s)
}

// Reconcile deletes one object if it has no right to be.
func (s *Sweeper) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var object storagev1.CSIStorageCapacity
	if err := s.publisher.Client.Get(ctx, request.NamespacedName, &object); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	why, err := s.superfluous(ctx, &object)
	if why == "" || err != nil {
		return reconcile.Result{}, err
	}
	klog.FromContext(ctx).Info("Deleting capacity object", "object", klog.KObj(&object), "storageClass", object.StorageClassName, "why", why)
	return reconcile.Result{}, remove(ctx, s.publisher.Client, &object)
}

// superfluous says why an object has no right to be. Objects of other drivers are none of this package's business.
func (s *Sweeper) superfluous(ctx context.Context, object *storagev1.CSIStorageCapacity) (string, error) {
	pool, ofDriver, err := s.publisher.poolOfClass(ctx, object.StorageClassName)
	if err != nil {
		return "", err
	}
	if object.Labels[v1alpha1.LabelManagedBy] != v1alpha1.ManagedByCapacity {
		if ofDriver {
			return "another publisher made it for a class of this driver", nil
		}
		return "", nil
	}
	if !ofDriver {
		return "its StorageClass is gone", nil
	}
	part, err := ownerOf(ctx, s.publisher.Client, object)
	switch {
	case err != nil:
		return "", err
	case part == nil:
		return "its NodeThinPool is gone", nil
	case part.Spec.PoolName != pool:
		return "its StorageClass has another pool", nil
	case object.Name != ObjectName(object.StorageClassName, part.Spec.NodeName):
		return "it is a duplicate", nil
	}
	return "", nil
}

// deletions lets nothing else through: an owner that changes is the tracker's affair.
var deletions = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false },
	UpdateFunc: func(event.UpdateEvent) bool { return false },
}

func (s *Sweeper) ofPart(ctx context.Context, object client.Object) []reconcile.Request {
	return s.requests(ctx, client.MatchingFields{indexOwner: object.GetName()})
}

func (s *Sweeper) ofClass(ctx context.Context, object client.Object) []reconcile.Request {
	return s.requests(ctx, client.MatchingFields{indexClass: object.GetName()})
}

func (s *Sweeper) requests(ctx context.Context, selected client.ListOption) []reconcile.Request {
	var list storagev1.CSIStorageCapacityList
	if err := s.publisher.Client.List(ctx, &list, selected, client.UnsafeDisableDeepCopy); err != nil {
		klog.FromContext(ctx).Error(err, "Cannot list capacity objects")
	}
	requests := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&list.Items[i])
	}
	return requests
}
