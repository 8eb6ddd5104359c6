package view

import (
	"context"

	storagev1 "k8s.io/api/storage/v1"

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
	var list storagev1.StorageClassList
	if err := v.reader.List(ctx, &list, readOnly); err != nil {
		return nil, err
	}
	var names []string
	for i := range list.Items {
		if name, ok := PoolOfClass(&list.Items[i]); ok && name == pool {
			names = append(names, list.Items[i].Name)
		}
	}
	return names, nil
}
