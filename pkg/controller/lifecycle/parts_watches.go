package lifecycle

import (
	"context"
	"time"

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

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// workers bounds the requests of one reconciler that are under way.
const workers = 8

func (p *Parts) addTo(mgr manager.Manager) error {
	mapped := func(parts func(context.Context, client.Object) ([]Part, error)) handler.TypedEventHandler[client.Object, Part] {
		return handler.TypedEnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []Part {
			list, err := parts(ctx, object)
			if err != nil {
				// The caches are local: this is a programming error, an index that is missing.
				klog.FromContext(ctx).Error(err, "Cannot tell which pools a change touches", "object", klog.KObj(object))
			}
			return list
		})
	}
	return builder.TypedControllerManagedBy[Part](mgr).
		Named("nodethinpool").
		WithOptions(controller.TypedOptions[Part]{MaxConcurrentReconciles: workers, RateLimiter: retries[Part]()}).
		Watches(&v1alpha1.ThinPool{}, mapped(p.ofThinPool), builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, deletionBegins))).
		Watches(&corev1.Node{}, mapped(p.ofNode), builder.WithPredicates(predicate.Or(predicate.LabelChangedPredicate{}, deletionBegins))).
		Watches(&storagev1.CSINode{}, mapped(p.ofNode)).
		Watches(&corev1.Pod{}, mapped(p.ofAgent), builder.WithPredicates(onlyDeletions)).
		Watches(&v1alpha1.NodeThinPool{}, mapped(p.ofPart)).
		Watches(&v1alpha1.ThinVolume{}, mapped(p.ofVolume), builder.WithPredicates(onlyDeletions)).
		Watches(&v1alpha1.ThinSnapshot{}, mapped(p.ofSnapshot), builder.WithPredicates(onlyDeletions)).
		Watches(&v1alpha1.ThinGroupSnapshot{}, mapped(p.ofGroup), builder.WithPredicates(onlyDeletions)).
		Complete(p)
}

// retries of a request that failed: soon, then less often, but never so seldom that an admin who has put something right
// would have to wait.
func retries[request comparable]() workqueue.TypedRateLimiter[request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[request](20*time.Millisecond, 30*time.Second)
}

var (
	onlyDeletions = predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(event.UpdateEvent) bool { return false },
	}
	deletionBegins = predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetDeletionTimestamp() == nil && e.ObjectNew.GetDeletionTimestamp() != nil
		},
	}
)

// ofThinPool are all nodes: those that have a part and those that may get one.
func (p *Parts) ofThinPool(ctx context.Context, object client.Object) ([]Part, error) {
	nodes, err := p.View.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	present, err := p.View.Pools(ctx, object.GetName())
	parts := make([]Part, 0, len(nodes)+len(present))
	for i := range nodes {
		parts = append(parts, Part{Pool: object.GetName(), Node: nodes[i].Name})
	}
	for i := range present {
		parts = append(parts, Part{Pool: object.GetName(), Node: present[i].Spec.NodeName})
	}
	return parts, err
}

// ofNode takes a Node or a CSINode, which has the Node's name.
func (p *Parts) ofNode(ctx context.Context, object client.Object) ([]Part, error) {
	pools, err := p.View.ThinPools(ctx)
	if err != nil {
		return nil, err
	}
	present, err := p.View.PoolsOfNode(ctx, object.GetName())
	parts := make([]Part, 0, len(pools)+len(present))
	for i := range pools {
		parts = append(parts, Part{Pool: pools[i].Name, Node: object.GetName()})
	}
	for i := range present {
		parts = append(parts, Part{Pool: present[i].Spec.PoolName, Node: object.GetName()})
	}
	return parts, err
}

// ofAgent are the parts on a node that lost its agent.
func (p *Parts) ofAgent(ctx context.Context, object client.Object) ([]Part, error) {
	node := object.(*corev1.Pod).Spec.NodeName
	present, err := p.View.PoolsOfNode(ctx, node)
	parts := make([]Part, len(present))
	for i := range present {
		parts[i] = Part{Pool: present[i].Spec.PoolName, Node: node}
	}
	return parts, err
}

func (p *Parts) ofPart(_ context.Context, object client.Object) ([]Part, error) {
	part := object.(*v1alpha1.NodeThinPool)
	return []Part{{Pool: part.Spec.PoolName, Node: part.Spec.NodeName}}, nil
}

// ofVolume is the part that a volume left: it may be waiting for its last volume.
func (p *Parts) ofVolume(_ context.Context, object client.Object) ([]Part, error) {
	volume := object.(*v1alpha1.ThinVolume)
	return []Part{{Pool: volume.Spec.PoolName, Node: volume.Spec.NodeName}}, nil
}

// ofSnapshot is the part that a snapshot left.
func (p *Parts) ofSnapshot(_ context.Context, object client.Object) ([]Part, error) {
	snapshot := object.(*v1alpha1.ThinSnapshot)
	return []Part{{Pool: snapshot.Spec.PoolName, Node: snapshot.Spec.NodeName}}, nil
}

// ofGroup is the part that a group of snapshots left.
func (p *Parts) ofGroup(_ context.Context, object client.Object) ([]Part, error) {
	group := object.(*v1alpha1.ThinGroupSnapshot)
	return []Part{{Pool: group.Spec.PoolName, Node: group.Spec.NodeName}}, nil
}
