package view

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/parameters"
)

// PoolOfClass is the pool that a StorageClass takes its volumes from; ok is false for a class of another driver.
func PoolOfClass(class *storagev1.StorageClass) (pool string, ok bool) {
	if class.Provisioner != v1alpha1.DriverName || class.DeletionTimestamp != nil {
		return "", false
	}
	return parameters.PoolName(class.Parameters), true
}

// Classes are the names of the StorageClasses that take their volumes from a pool.
func (v *View) Classes(ctx context.Context, pool string) ([]string, error) {
	return v.classes(ctx, func(name string) bool { return name == pool })
}

// AllClasses are the names of the driver's StorageClasses.
func (v *View) AllClasses(ctx context.Context) ([]string, error) {
	return v.classes(ctx, func(string) bool { return true })
}

func (v *View) classes(ctx context.Context, wanted func(pool string) bool) ([]string, error) {
	var list storagev1.StorageClassList
	if err := v.reader.List(ctx, &list, readOnly); err != nil {
		return nil, err
	}
	var names []string
	for i := range list.Items {
		if pool, ok := PoolOfClass(&list.Items[i]); ok && wanted(pool) {
			names = append(names, list.Items[i].Name)
		}
	}
	return names, nil
}

// CheckPool refuses the name of a pool that does not exist, by a *parameters.Error that says which do.
func (v *View) CheckPool(ctx context.Context, name string) error {
	pools, err := v.ThinPools(ctx)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(pools))
	for i := range pools {
		if pools[i].Name == name {
			return nil
		}
		names = append(names, pools[i].Name)
	}
	slices.Sort(names)
	allowed := "the name of a ThinPool: there is none yet"
	if len(names) > 0 {
		allowed = "the name of a ThinPool: there are " + strings.Join(names, ", ")
	}
	return &parameters.Error{Key: v1alpha1.ParameterPool, Value: name, Allowed: allowed}
}

// PendingClaims are the claims of a StorageClass that have no volume yet. The caller must not change them.
func (v *View) PendingClaims(ctx context.Context, class string) ([]corev1.PersistentVolumeClaim, error) {
	var list corev1.PersistentVolumeClaimList
	err := v.reader.List(ctx, &list, client.MatchingFields{indexPendingClass: class}, readOnly)
	return list.Items, err
}

// PendingClassOf is the StorageClass that a claim waits for a volume of; it is empty for one that does not wait.
func PendingClassOf(claim *corev1.PersistentVolumeClaim) string {
	if claim.Status.Phase != corev1.ClaimPending || claim.DeletionTimestamp != nil || claim.Spec.StorageClassName == nil {
		return ""
	}
	return *claim.Spec.StorageClassName
}
