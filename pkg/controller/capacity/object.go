package capacity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/headroom"
)

// ObjectName names the capacity object of a StorageClass on a node.
func ObjectName(class, node string) string {
	// Neither name can contain the separator.
	sum := sha256.Sum256([]byte(class + "/" + node))
	return "csi-dm-" + hex.EncodeToString(sum[:16])
}

// The indexes find the objects of a class and of a NodeThinPool, also of one that is gone.
const (
	indexClass = "storageClassName"
	indexOwner = "owner"
)

// AddIndexes makes the caches' indexes. It must be called before the caches are started.
func AddIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	return errors.Join(
		indexer.IndexField(ctx, &storagev1.CSIStorageCapacity{}, indexClass, func(object client.Object) []string {
			return []string{object.(*storagev1.CSIStorageCapacity).StorageClassName}
		}),
		indexer.IndexField(ctx, &storagev1.CSIStorageCapacity{}, indexOwner, func(object client.Object) []string {
			if owner := metav1.GetControllerOf(object); owner != nil {
				return []string{owner.Name}
			}
			return nil
		}),
	)
}

// object is what is to be published for a class on the node of a pool's part.
func object(namespace, class string, part *v1alpha1.NodeThinPool, room headroom.Room) *storagev1.CSIStorageCapacity {
	topology := v1alpha1.TopologyValue(part.Spec.NodeName)
	return &storagev1.CSIStorageCapacity{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      ObjectName(class, part.Spec.NodeName),
			Labels: map[string]string{
				v1alpha1.LabelManagedBy: v1alpha1.ManagedByCapacity,
				v1alpha1.LabelPool:      part.Spec.PoolName,
				v1alpha1.LabelNode:      topology,
			},
			OwnerReferences: []metav1.OwnerReference{owner(part)},
		},
		StorageClassName:  class,
		NodeTopology:      &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.TopologyKey: topology}},
		Capacity:          resource.NewQuantity(room.Total, resource.BinarySI),
		MaximumVolumeSize: resource.NewQuantity(room.LargestVolume, resource.BinarySI),
	}
}

func owner(part *v1alpha1.NodeThinPool) metav1.OwnerReference {
	isController := true
	return metav1.OwnerReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "NodeThinPool",
		Name: part.Name, UID: part.UID, Controller: &isController,
	}
}
