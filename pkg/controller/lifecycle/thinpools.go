package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// summaryInterval is how often a ThinPool's status is written at most: with thousands of nodes some part changes all the
// time.
const summaryInterval = time.Second

// ThinPools keeps the status of ThinPools, and those that are being deleted until nothing is left of them.
type ThinPools struct {
	// Client reads from the caches, Live from the API server.
	Client client.Client
	Live   client.Reader
	View   *view.View
}

// Reconcile sums up one ThinPool.
func (t *ThinPools) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	pool := new(v1alpha1.ThinPool)
	if err := t.Client.Get(ctx, request.NamespacedName, pool); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if pool.DeletionTimestamp != nil {
		return reconcile.Result{}, t.release(ctx, pool)
	}
	if held := pool.DeepCopy(); controllerutil.AddFinalizer(held, v1alpha1.PoolFinalizer) {
		patch := client.MergeFromWithOptions(pool, client.MergeFromWithOptimisticLock{})
		// The event of the change brings the pool back here.
		return reconcile.Result{}, ignoreConflict(t.Client.Patch(ctx, held, patch))
	}
	parts, err := t.View.Pools(ctx, pool.Name)
	if err != nil {
		return reconcile.Result{}, err
	}
	wanted := pool.DeepCopy()
	ready, err := t.readyNodes(ctx, parts)
	if err != nil {
		return reconcile.Result{}, err
	}
	wanted.Status.ReadyNodes = ready
	selected, err := t.selectedNodes(ctx, pool, parts)
	var badSelector *view.SelectorError
	if err != nil && !errors.As(err, &badSelector) {
		return reconcile.Result{}, err
	}
	wanted.Status.Nodes = selected
	apimeta.SetStatusCondition(&wanted.Status.Conditions, readiness(wanted, badSelector))
	return reconcile.Result{}, t.writeStatus(ctx, pool, wanted)
}

func (t *ThinPools) writeStatus(ctx context.Context, present, wanted *v1alpha1.ThinPool) error {
	wanted.Status.ObservedGeneration = wanted.Generation
	if apiequality.Semantic.DeepEqual(present.Status, wanted.Status) {
		return nil
	}
	return ignoreConflict(t.Client.Status().Update(ctx, wanted))
}

func (t *ThinPools) readyNodes(ctx context.Context, parts []v1alpha1.NodeThinPool) (int32, error) {
	var ready int32
	for i := range parts {
		if parts[i].DeletionTimestamp != nil || !apimeta.IsStatusConditionTrue(parts[i].Status.Conditions, v1alpha1.ConditionReady) {
			continue
		}
		unavailable, err := t.View.Unavailable(ctx, parts[i].Spec.NodeName)
		if err != nil {
			return 0, err
		}
		if unavailable == "" {
			ready++
		}
	}
	return ready, nil
}

// selectedNodes are the nodes that the selector matches; for a pool that names none, those that have a part.
func (t *ThinPools) selectedNodes(ctx context.Context, pool *v1alpha1.ThinPool, parts []v1alpha1.NodeThinPool) (int32, error) {
	selector, everywhere, err := view.Selector(pool)
	if err != nil {
		return 0, err
	}
	if everywhere {
		return int32(len(parts)), nil
	}
	nodes, err := t.View.Nodes(ctx)
	var selected int32
	for i := range nodes {
		if selector.Matches(labels.Set(nodes[i].Labels)) {
			selected++
		}
	}
	return selected, err
}

func readiness(pool *v1alpha1.ThinPool, badSelector *view.SelectorError) metav1.Condition {
	condition := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: pool.Generation,
		Reason:  v1alpha1.ReasonPending,
		Message: fmt.Sprintf("ready on %d of %d nodes", pool.Status.ReadyNodes, pool.Status.Nodes),
	}
	switch {
	case badSelector != nil:
		condition.Reason, condition.Message = v1alpha1.ReasonInvalidSelector, badSelector.Error()
	case pool.Status.Nodes == 0:
		condition.Reason, condition.Message = v1alpha1.ReasonNoNodes, "spec.nodeSelector matches no node that runs the driver"
	case pool.Status.ReadyNodes >= pool.Status.Nodes:
		condition.Status, condition.Reason = metav1.ConditionTrue, v1alpha1.ReasonReady
	}
	return condition
}

// release lets a ThinPool go once no volume, no snapshot and no part is left of it, and says until then what it waits for.
func (t *ThinPools) release(ctx context.Context, pool *v1alpha1.ThinPool) error {
	occupied, err := occupants(ctx, t.View, pool.Name)
	if err != nil {
		return err
	}
	parts, err := t.View.Pools(ctx, pool.Name)
	if err != nil {
		return err
	}
	if occupied == "" && len(parts) == 0 {
		// The cache may be behind.
		if occupied, err = occupants(ctx, view.New(t.Live), pool.Name); err != nil {
			return err
		}
		if occupied == "" {
			klog.FromContext(ctx).Info("Released pool", "pool", pool.Name)
			return removeFinalizer(ctx, t.Client, pool, v1alpha1.PoolFinalizer)
		}
	}
	wanted := pool.DeepCopy()
	condition := metav1.Condition{Type: v1alpha1.ConditionDeleting, Status: metav1.ConditionTrue, ObservedGeneration: pool.Generation}
	if occupied != "" {
		condition.Reason, condition.Message = v1alpha1.ReasonVolumeInUse, occupied
	} else {
		condition.Reason, condition.Message = v1alpha1.ReasonPending, waiting("NodeThinPool", partNames(parts))
	}
	apimeta.SetStatusCondition(&wanted.Status.Conditions, condition)
	return t.writeStatus(ctx, pool, wanted)
}

// occupants says which volumes, or else which snapshots, a pool that is being deleted waits for; it is empty if there are none.
func occupants(ctx context.Context, v *view.View, pool string) (string, error) {
	volumes, err := v.VolumesOfPool(ctx, pool)
	if err != nil {
		return "", err
	}
	if len(volumes) > 0 {
		return waiting("volume", volumeNames(volumes)), nil
	}
	snapshots, err := v.SnapshotsOfPool(ctx, pool)
	if err != nil {
		return "", err
	}
	if len(snapshots) > 0 {
		return waiting("snapshot", snapshotNames(snapshots)), nil
	}
	groups, err := v.GroupsOfPool(ctx, pool)
	if err != nil || len(groups) == 0 {
		return "", err
	}
	return waiting("group snapshot", groupNames(groups)), nil
}

// waiting names the first few of what is waited for.
func waiting(what string, names []string) string {
	const shown = 5
	slices.Sort(names)
	text := fmt.Sprintf("waiting for %d %s", len(names), what)
	if len(names) != 1 {
		text += "s"
	}
	text += ": " + strings.Join(names[:min(shown, len(names))], ", ")
	if len(names) > shown {
		text += ", …"
	}
	return text
}

func volumeNames(volumes []v1alpha1.ThinVolume) []string {
	names := make([]string, len(volumes))
	for i := range volumes {
		names[i] = volumes[i].Name
		if claim := volumes[i].Spec.Claim; claim != nil {
			names[i] += " (claim " + claim.Namespace + "/" + claim.Name + ")"
		}
	}
	return names
}

func snapshotNames(snapshots []v1alpha1.ThinSnapshot) []string {
	names := make([]string, len(snapshots))
	for i := range snapshots {
		names[i] = snapshots[i].Name
	}
	return names
}

func groupNames(groups []v1alpha1.ThinGroupSnapshot) []string {
	names := make([]string, len(groups))
	for i := range groups {
		names[i] = groups[i].Name
	}
	return names
}

func partNames(parts []v1alpha1.NodeThinPool) []string {
	names := make([]string, len(parts))
	for i := range parts {
		names[i] = parts[i].Name
	}
	return names
}

func ignoreConflict(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
