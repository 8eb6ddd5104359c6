package view

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// Indexes of the caches. Those of node and pool have the names of the kinds' selectable fields, so that the same list works
// on the cache and on the API server.
const (
	indexNodeName = "spec.nodeName"
	indexPoolName = "spec.poolName"
	// indexVolumeName is of the snapshots of a volume.
	indexVolumeName = "spec.volumeName"

	indexRequest  = "request"
	indexTopology = "topology"
	// indexPendingClass is of claims that wait for a volume.
	indexPendingClass = "pendingClass"
)

// AddIndexes makes the caches' indexes. It must be called before the caches are started.
func AddIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	index := func(object client.Object, field string, value func(client.Object) string) error {
		return indexer.IndexField(ctx, object, field, func(object client.Object) []string {
			if v := value(object); v != "" {
				return []string{v}
			}
			return nil
		})
	}
	return errors.Join(
		index(&v1alpha1.ThinVolume{}, indexNodeName, func(o client.Object) string { return o.(*v1alpha1.ThinVolume).Spec.NodeName }),
		index(&v1alpha1.ThinVolume{}, indexPoolName, func(o client.Object) string { return o.(*v1alpha1.ThinVolume).Spec.PoolName }),
		index(&v1alpha1.ThinVolume{}, indexRequest, func(o client.Object) string { return v1alpha1.RequestOfVolume(o.GetName()) }),
		index(&v1alpha1.ThinSnapshot{}, indexNodeName, func(o client.Object) string { return o.(*v1alpha1.ThinSnapshot).Spec.NodeName }),
		index(&v1alpha1.ThinSnapshot{}, indexPoolName, func(o client.Object) string { return o.(*v1alpha1.ThinSnapshot).Spec.PoolName }),
		index(&v1alpha1.ThinSnapshot{}, indexVolumeName, func(o client.Object) string { return o.(*v1alpha1.ThinSnapshot).Spec.VolumeName }),
		index(&v1alpha1.ThinGroupSnapshot{}, indexNodeName, func(o client.Object) string { return o.(*v1alpha1.ThinGroupSnapshot).Spec.NodeName }),
		index(&v1alpha1.ThinGroupSnapshot{}, indexPoolName, func(o client.Object) string { return o.(*v1alpha1.ThinGroupSnapshot).Spec.PoolName }),
		index(&v1alpha1.NodeThinPool{}, indexNodeName, func(o client.Object) string { return o.(*v1alpha1.NodeThinPool).Spec.NodeName }),
		index(&v1alpha1.NodeThinPool{}, indexPoolName, func(o client.Object) string { return o.(*v1alpha1.NodeThinPool).Spec.PoolName }),
		index(&corev1.Node{}, indexTopology, func(o client.Object) string { return v1alpha1.TopologyValue(o.GetName()) }),
		index(&corev1.PersistentVolumeClaim{}, indexPendingClass, func(o client.Object) string { return PendingClassOf(o.(*corev1.PersistentVolumeClaim)) }),
		index(&corev1.Pod{}, indexNodeName, func(o client.Object) string { return o.(*corev1.Pod).Spec.NodeName }),
	)
}
