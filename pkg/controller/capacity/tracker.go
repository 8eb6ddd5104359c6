package capacity

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// window is how long changes are gathered before the object is written once for all of them.
const window = 100 * time.Millisecond

// workers bounds the requests that are under way: a cold start writes an object per class and node.
const workers = 16

// Key names a capacity object.
type Key struct {
	Class string
	Node  string
}

// Tracker keeps the capacity objects current. It runs on the leader.
type Tracker struct {
	publisher *Publisher
	view      *view.View
}

// AddTracker adds a tracker and a sweeper to a manager.
func AddTracker(mgr manager.Manager, publisher *Publisher) error {
	t := &Tracker{publisher: publisher, view: publisher.View}
	err := builder.TypedControllerManagedBy[Key](mgr).
		Named("capacity").
		WithOptions(controller.TypedOptions[Key]{
			MaxConcurrentReconciles: workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[Key](20*time.Millisecond, 30*time.Second),
		}).
		Watches(&v1alpha1.NodeThinPool{}, t.gather(t.ofPart)).
		Watches(&v1alpha1.ThinVolume{}, t.gather(t.ofVolume)).
		Watches(&v1alpha1.ThinSnapshot{}, t.gather(t.ofSnapshot)).
		Watches(&v1alpha1.ThinGroupSnapshot{}, t.gather(t.ofGroup)).
		Watches(&v1alpha1.ThinPool{}, t.gather(t.ofThinPool)).
		Watches(&corev1.Node{}, t.gather(t.ofNode)).
		Watches(&corev1.Pod{}, t.gather(t.ofAgent)).
		Watches(&storagev1.StorageClass{}, t.gather(t.ofClass)).
		Watches(&storagev1.CSIStorageCapacity{}, t.gather(t.ofObject)).
		Complete(t)
	if err != nil {
		return err
	}
	return addSweeper(mgr, publisher)
}

// Reconcile publishes one object.
func (t *Tracker) Reconcile(ctx context.Context, key Key) (reconcile.Result, error) {
	err := t.publisher.Publish(ctx, key.Class, key.Node)
	if apierrors.IsConflict(err) {
		klog.FromContext(ctx).V(4).Info("Capacity object changed meanwhile", "storageClass", key.Class, "node", key.Node)
		return reconcile.Result{RequeueAfter: window}, nil
	}
	return reconcile.Result{}, err
}
