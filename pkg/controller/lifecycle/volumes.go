package lifecycle

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// refusedFor is how long a volume that its node refused is left to the CreateVolume call that waits for it, or to its
// repetition: csi-provisioner repeats within this time.
const refusedFor = time.Minute

// Volumes sweeps ThinVolumes that nobody would take away otherwise.
type Volumes struct {
	// Client reads from the caches, Live from the API server.
	Client client.Client
	Live   client.Reader
	View   *view.View
	// Grace is how long a deleted volume of a node that does not exist keeps its finalizer, for the case that the node
	// comes back and can delete the thin device itself.
	Grace time.Duration
}

func (v *Volumes) addTo(mgr manager.Manager) error {
	return builder.ControllerManagedBy(mgr).
		Named("thinvolume").
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: retries[reconcile.Request]()}).
		For(&v1alpha1.ThinVolume{}).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(v.ofNode), builder.WithPredicates(onlyDeletions)).
		Complete(v)
}

// Reconcile sweeps one volume if it is one of those.
func (v *Volumes) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	volume := new(v1alpha1.ThinVolume)
	if err := v.Client.Get(ctx, request.NamespacedName, volume); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if volume.DeletionTimestamp != nil {
		return v.release(ctx, volume)
	}
	if !view.Refused(volume) {
		return reconcile.Result{}, nil
	}
	since := apimeta.FindStatusCondition(volume.Status.Conditions, v1alpha1.ConditionReady).LastTransitionTime.Time
	if left := time.Until(since.Add(refusedFor)); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	klog.FromContext(ctx).Info("Withdrawing volume that its node refused", "volume", volume.Name, "node", volume.Spec.NodeName)
	version, uid := volume.ResourceVersion, volume.UID
	err := v.Client.Delete(ctx, volume, client.Preconditions{UID: &uid, ResourceVersion: &version})
	return reconcile.Result{}, ignoreConflict(err)
}

// release lets a deleted volume go whose node does not exist: nobody is left who could delete the thin device.
func (v *Volumes) release(ctx context.Context, volume *v1alpha1.ThinVolume) (reconcile.Result, error) {
	exists, err := nodeExists(ctx, volume.Spec.NodeName, v.Client, v.Live)
	if exists || err != nil {
		return reconcile.Result{}, err
	}
	if left := time.Until(volume.DeletionTimestamp.Add(v.Grace)); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	klog.FromContext(ctx).Info("Releasing deleted volume of a node that does not exist", "volume", volume.Name, "node", volume.Spec.NodeName)
	return reconcile.Result{}, removeFinalizer(ctx, v.Client, volume, v1alpha1.VolumeFinalizer)
}

// nodeExists asks the readers in turn whether there is a node. The last one should be the API server: what follows from a
// node's absence cannot be taken back.
func nodeExists(ctx context.Context, name string, readers ...client.Reader) (bool, error) {
	for _, reader := range readers {
		err := reader.Get(ctx, client.ObjectKey{Name: name}, new(corev1.Node))
		if err == nil {
			return true, nil
		}
		if !apierrors.IsNotFound(err) {
			return false, fmt.Errorf("look for node %q: %w", name, err)
		}
	}
	return false, nil
}

func (v *Volumes) ofNode(ctx context.Context, object client.Object) []reconcile.Request {
	volumes, err := v.View.VolumesOfNode(ctx, object.GetName())
	if err != nil {
		klog.FromContext(ctx).Error(err, "Cannot list the volumes of a node that is gone", "node", object.GetName())
	}
	requests := make([]reconcile.Request, len(volumes))
	for i := range volumes {
		requests[i].Name = volumes[i].Name
	}
	return requests
}
