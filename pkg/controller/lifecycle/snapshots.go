package lifecycle

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// snapshots does for ThinSnapshots, or for ThinGroupSnapshots, what Volumes does for ThinVolumes.
type snapshots[O any, P interface {
	*O
	client.Object
}] struct {
	// client reads from the caches, live from the API server.
	client client.Client
	live   client.Reader
	// grace is Volumes.Grace.
	grace time.Duration

	name       string
	node       func(P) string
	refused    func(P) bool
	conditions func(P) []metav1.Condition
	// namesOn are the names of all on a node.
	namesOn func(ctx context.Context, node string) ([]string, error)
}

func sweepSnapshots(reader client.Client, live client.Reader, v *view.View, grace time.Duration) *snapshots[v1alpha1.ThinSnapshot, *v1alpha1.ThinSnapshot] {
	return &snapshots[v1alpha1.ThinSnapshot, *v1alpha1.ThinSnapshot]{
		client: reader, live: live, grace: grace, name: "thinsnapshot", refused: view.SnapshotRefused,
		node:       func(s *v1alpha1.ThinSnapshot) string { return s.Spec.NodeName },
		conditions: func(s *v1alpha1.ThinSnapshot) []metav1.Condition { return s.Status.Conditions },
		namesOn: func(ctx context.Context, node string) ([]string, error) {
			list, err := v.SnapshotsOfNode(ctx, node)
			return snapshotNames(list), err
		},
	}
}

func sweepGroups(reader client.Client, live client.Reader, v *view.View, grace time.Duration) *snapshots[v1alpha1.ThinGroupSnapshot, *v1alpha1.ThinGroupSnapshot] {
	return &snapshots[v1alpha1.ThinGroupSnapshot, *v1alpha1.ThinGroupSnapshot]{
		client: reader, live: live, grace: grace, name: "thingroupsnapshot", refused: view.GroupRefused,
		node:       func(g *v1alpha1.ThinGroupSnapshot) string { return g.Spec.NodeName },
		conditions: func(g *v1alpha1.ThinGroupSnapshot) []metav1.Condition { return g.Status.Conditions },
		namesOn: func(ctx context.Context, node string) ([]string, error) {
			list, err := v.GroupsOfNode(ctx, node)
			return groupNames(list), err
		},
	}
}

func (s *snapshots[O, P]) addTo(mgr manager.Manager) error {
	return builder.ControllerManagedBy(mgr).
		Named(s.name).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: retries[reconcile.Request]()}).
		For(P(new(O))).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(s.ofNode), builder.WithPredicates(onlyDeletions)).
		Complete(s)
}

// Reconcile sweeps one that its node refused, or releases a deleted one whose node is gone.
func (s *snapshots[O, P]) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	object := P(new(O))
	if err := s.client.Get(ctx, request.NamespacedName, object); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if object.GetDeletionTimestamp() != nil {
		return s.release(ctx, object)
	}
	if !s.refused(object) {
		return reconcile.Result{}, nil
	}
	since := apimeta.FindStatusCondition(s.conditions(object), v1alpha1.ConditionReady).LastTransitionTime.Time
	if left := time.Until(since.Add(refusedFor)); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	klog.FromContext(ctx).Info("Withdrawing snapshot that its node refused", "kind", s.name, "snapshot", object.GetName(), "node", s.node(object))
	version, uid := object.GetResourceVersion(), object.GetUID()
	err := s.client.Delete(ctx, object, client.Preconditions{UID: &uid, ResourceVersion: &version})
	return reconcile.Result{}, ignoreConflict(err)
}

// release lets a deleted one go whose node does not exist.
func (s *snapshots[O, P]) release(ctx context.Context, object P) (reconcile.Result, error) {
	exists, err := nodeExists(ctx, s.node(object), s.client, s.live)
	if exists || err != nil {
		return reconcile.Result{}, err
	}
	if left := time.Until(object.GetDeletionTimestamp().Add(s.grace)); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	klog.FromContext(ctx).Info("Releasing deleted snapshot of a node that does not exist", "kind", s.name, "snapshot", object.GetName(), "node", s.node(object))
	return reconcile.Result{}, removeFinalizer(ctx, s.client, object, v1alpha1.VolumeFinalizer)
}

func (s *snapshots[O, P]) ofNode(ctx context.Context, object client.Object) []reconcile.Request {
	names, err := s.namesOn(ctx, object.GetName())
	if err != nil {
		klog.FromContext(ctx).Error(err, "Cannot list the snapshots of a node that is gone", "node", object.GetName())
	}
	requests := make([]reconcile.Request, len(names))
	for i, name := range names {
		requests[i].Name = name
	}
	return requests
}
