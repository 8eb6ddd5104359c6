package cluster

import (
	"context"
	"fmt"
	"time"

	storagev1 "k8s.io/api/storage/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// Capacity is the one CSIStorageCapacity object of a class on a node. None, or more than one, is an error: the scheduler takes
// the first that suffices, so that a second one would mislead it.
func (c *Cluster) Capacity(ctx context.Context, class, node string) (*storagev1.CSIStorageCapacity, error) {
	var capacities storagev1.CSIStorageCapacityList
	if err := c.List(ctx, &capacities); err != nil {
		return nil, err
	}
	var found []storagev1.CSIStorageCapacity
	for _, capacity := range capacities.Items {
		topology := capacity.NodeTopology
		if capacity.StorageClassName == class && topology != nil && topology.MatchLabels[v1alpha1.TopologyKey] == v1alpha1.TopologyValue(node) {
			found = append(found, capacity)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d CSIStorageCapacity objects of class %s on node %s: want 1", len(found), class, node)
	}
	return &found[0], nil
}

// LargestVolume is the largest volume of a class that the scheduler may put on a node, in bytes, by its capacity object.
func (c *Cluster) LargestVolume(ctx context.Context, class, node string) (int64, error) {
	capacity, err := c.Capacity(ctx, class, node)
	if err != nil {
		return 0, err
	}
	if capacity.MaximumVolumeSize != nil {
		return capacity.MaximumVolumeSize.Value(), nil
	}
	if capacity.Capacity != nil {
		return capacity.Capacity.Value(), nil
	}
	return 0, fmt.Errorf("capacity object %s has neither maximumVolumeSize nor capacity", capacity.Name)
}

// AwaitLargestVolume waits until the published figure satisfies accept and returns it.
func (c *Cluster) AwaitLargestVolume(
	ctx context.Context, limit time.Duration, class, node, what string, accept func(int64) bool,
) (int64, error) {
	var largest int64
	err := Await(ctx, limit, fmt.Sprintf("the capacity of class %s on node %s to be %s", class, node, what),
		func(ctx context.Context) (string, error) {
			var err error
			if largest, err = c.LargestVolume(ctx, class, node); err != nil {
				return err.Error(), nil
			}
			if !accept(largest) {
				return fmt.Sprintf("it is %d bytes", largest), nil
			}
			return "", nil
		})
	return largest, err
}
