package lifecycle

import (
	"context"
	"errors"
	"fmt"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// Part names a ThinPool's part on a node.
type Part struct {
	Pool string
	Node string
}

// Parts makes and takes away NodeThinPools.
type Parts struct {
	// Client reads from the caches, Live from the API server.
	Client client.Client
	Live   client.Reader
	View   *view.View
}

// Reconcile brings one part to what ThinPool and Node ask for.
func (p *Parts) Reconcile(ctx context.Context, key Part) (reconcile.Result, error) {
	ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithValues("pool", key.Pool, "node", key.Node))
	present := new(v1alpha1.NodeThinPool)
	switch err := p.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.NodeThinPoolName(key.Pool, key.Node)}, present); {
	case apierrors.IsNotFound(err):
		present = nil
	case err != nil:
		return reconcile.Result{}, err
	}
	pool := new(v1alpha1.ThinPool)
	switch err := p.Client.Get(ctx, client.ObjectKey{Name: key.Pool}, pool); {
	case apierrors.IsNotFound(err):
		return reconcile.Result{}, p.retire(ctx, present)
	case err != nil:
		return reconcile.Result{}, err
	}
	owns, err := p.View.Owns(ctx, pool, key.Node, present != nil)
	var badSelector *view.SelectorError
	switch {
	case errors.As(err, &badSelector):
		// Nobody knows which nodes are meant, so nothing is made or taken away. The ThinPool's condition says it.
		return reconcile.Result{}, nil
	case err != nil:
		return reconcile.Result{}, err
	case !owns:
		return reconcile.Result{}, p.retire(ctx, present)
	case present == nil:
		return reconcile.Result{}, p.make(ctx, pool, key.Node)
	case present.DeletionTimestamp != nil:
		// Somebody deleted it although it is wanted. It goes when it can, and is made anew.
		return reconcile.Result{}, p.retire(ctx, present)
	}
	return reconcile.Result{}, p.copySettings(ctx, pool, present)
}

func (p *Parts) make(ctx context.Context, pool *v1alpha1.ThinPool, node string) error {
	part := &v1alpha1.NodeThinPool{
		ObjectMeta: metav1.ObjectMeta{
			Name:       v1alpha1.NodeThinPoolName(pool.Name, node),
			Labels:     partLabels(pool.Name, node),
			Finalizers: []string{v1alpha1.PoolFinalizer},
		},
		Spec: v1alpha1.NodeThinPoolSpec{NodeName: node, PoolName: pool.Name, PoolSettings: *pool.Spec.PoolSettings.DeepCopy()},
	}
	err := p.Client.Create(ctx, part)
	if apierrors.IsAlreadyExists(err) {
		// The cache is behind; its event brings the part back here.
		return nil
	}
	if err != nil {
		return fmt.Errorf("make pool %q on node %q: %w", pool.Name, node, err)
	}
	klog.FromContext(ctx).Info("Made pool on node", "nodeThinPool", part.Name)
	return nil
}

func (p *Parts) copySettings(ctx context.Context, pool *v1alpha1.ThinPool, part *v1alpha1.NodeThinPool) error {
	wanted := part.DeepCopy()
	wanted.Spec.PoolSettings = *pool.Spec.PoolSettings.DeepCopy()
	controllerutil.AddFinalizer(wanted, v1alpha1.PoolFinalizer)
	if wanted.Labels == nil {
		wanted.Labels = map[string]string{}
	}
	for name, value := range partLabels(pool.Name, part.Spec.NodeName) {
		wanted.Labels[name] = value
	}
	if apiequality.Semantic.DeepEqual(part, wanted) {
		return nil
	}
	if err := p.Client.Update(ctx, wanted); err != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("change pool %q on node %q: %w", pool.Name, part.Spec.NodeName, err)
	}
	// After a conflict the part's event brings it back here.
	return nil
}

// retire takes a part away once no volume and no snapshot is left in it. A part that is not wanted but holds volumes stays as it is: its
// capacity is zero, its volumes are served, and it is wanted again as soon as the selector or a label is put right.
func (p *Parts) retire(ctx context.Context, part *v1alpha1.NodeThinPool) error {
	if part == nil {
		return nil
	}
	left, err := p.occupied(ctx, part)
	if left || err != nil {
		return err
	}
	if part.DeletionTimestamp == nil {
		uid := part.UID
		if err := p.Client.Delete(ctx, part, client.Preconditions{UID: &uid}); err != nil {
			return client.IgnoreNotFound(err)
		}
		klog.FromContext(ctx).Info("Retired pool on node", "nodeThinPool", part.Name)
		return nil
	}
	absent, err := p.agentAbsent(ctx, part)
	if !absent || err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Releasing pool that no agent can shut down", "nodeThinPool", part.Name)
	return removeFinalizer(ctx, p.Client, part, v1alpha1.PoolFinalizer)
}

// agentAbsent tells whether nobody will shut a part's devices down: the node does not exist, or it never opened the pool and
// has no agent. Everywhere else the agent removes the finalizer, when the devices are gone.
func (p *Parts) agentAbsent(ctx context.Context, part *v1alpha1.NodeThinPool) (bool, error) {
	exists, err := nodeExists(ctx, part.Spec.NodeName, p.Client, p.Live)
	if !exists || err != nil {
		return !exists && err == nil, err
	}
	if part.Status.PoolID != "" {
		return false, nil
	}
	agent, err := p.View.HasAgent(ctx, part.Spec.NodeName)
	return !agent && err == nil, err
}

// occupied tells whether a volume or a snapshot is in a part. It asks the API server where the cache shows none: one may have
// been made a moment ago.
func (p *Parts) occupied(ctx context.Context, part *v1alpha1.NodeThinPool) (bool, error) {
	for _, v := range []*view.View{p.View, view.New(p.Live)} {
		volumes, err := v.Volumes(ctx, part.Spec.PoolName, part.Spec.NodeName)
		if len(volumes) > 0 || err != nil {
			return true, err
		}
		snapshots, err := v.Snapshots(ctx, part.Spec.PoolName, part.Spec.NodeName)
		if len(snapshots) > 0 || err != nil {
			return true, err
		}
		groups, err := v.Groups(ctx, part.Spec.PoolName, part.Spec.NodeName)
		if len(groups) > 0 || err != nil {
			return true, err
		}
	}
	return false, nil
}

// removeFinalizer removes one finalizer, and nothing that the cache does not show.
func removeFinalizer(ctx context.Context, writer client.Client, object client.Object, finalizer string) error {
	changed, ok := object.DeepCopyObject().(client.Object)
	if !ok || !controllerutil.RemoveFinalizer(changed, finalizer) {
		return nil
	}
	patch := client.MergeFromWithOptions(object, client.MergeFromWithOptimisticLock{})
	err := writer.Patch(ctx, changed, patch)
	if apierrors.IsConflict(err) {
		// The object's event brings it back.
		return nil
	}
	return client.IgnoreNotFound(err)
}

func partLabels(pool, node string) map[string]string {
	return map[string]string{v1alpha1.LabelPool: pool, v1alpha1.LabelNode: v1alpha1.TopologyValue(node)}
}
