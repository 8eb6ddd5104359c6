package lifecycle

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

func (t *ThinPools) addTo(mgr manager.Manager) error {
	return builder.ControllerManagedBy(mgr).
		Named("thinpool").
		WithOptions(controller.Options{RateLimiter: retries[reconcile.Request]()}).
		For(&v1alpha1.ThinPool{}).
		Watches(&v1alpha1.NodeThinPool{}, gather(summaryInterval, t.ofPart)).
		Watches(&corev1.Node{}, gather(summaryInterval, t.ofNode)).
		Watches(&corev1.Pod{}, gather(summaryInterval, t.ofAgent)).
		Watches(&v1alpha1.ThinVolume{}, gather(summaryInterval, t.ofVolume), builder.WithPredicates(onlyDeletions)).
		Watches(&v1alpha1.ThinSnapshot{}, gather(summaryInterval, t.ofSnapshot), builder.WithPredicates(onlyDeletions)).
		Watches(&v1alpha1.ThinGroupSnapshot{}, gather(summaryInterval, t.ofGroup), builder.WithPredicates(onlyDeletions)).
		Complete(t)
}

func (t *ThinPools) ofPart(_ context.Context, object client.Object) ([]string, error) {
	return []string{object.(*v1alpha1.NodeThinPool).Spec.PoolName}, nil
}

func (t *ThinPools) ofVolume(_ context.Context, object client.Object) ([]string, error) {
	return []string{object.(*v1alpha1.ThinVolume).Spec.PoolName}, nil
}

func (t *ThinPools) ofSnapshot(_ context.Context, object client.Object) ([]string, error) {
	return []string{object.(*v1alpha1.ThinSnapshot).Spec.PoolName}, nil
}

func (t *ThinPools) ofGroup(_ context.Context, object client.Object) ([]string, error) {
	return []string{object.(*v1alpha1.ThinGroupSnapshot).Spec.PoolName}, nil
}

// ofNode are all ThinPools: a label may have changed.
func (t *ThinPools) ofNode(ctx context.Context, _ client.Object) ([]string, error) {
	pools, err := t.View.ThinPools(ctx)
	names := make([]string, len(pools))
	for i := range pools {
		names[i] = pools[i].Name
	}
	return names, err
}

func (t *ThinPools) ofAgent(ctx context.Context, object client.Object) ([]string, error) {
	parts, err := t.View.PoolsOfNode(ctx, object.(*corev1.Pod).Spec.NodeName)
	names := make([]string, len(parts))
	for i := range parts {
		names[i] = parts[i].Spec.PoolName
	}
	return names, err
}
