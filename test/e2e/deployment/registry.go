package deployment

import (
	"context"
	"encoding/json"
	"fmt"
)

// RegistryVolumes are the names of the volumes that the registry of a node's pool holds, as csi-dm volume list says on the node.
func (d *Deployment) RegistryVolumes(ctx context.Context, node string) ([]string, error) {
	output, err := d.NodeCommand(ctx, node, "volume", "list", "--output", "json")
	if err != nil {
		return nil, err
	}
	var volumes []struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal([]byte(output), &volumes); err != nil {
		return nil, fmt.Errorf("csi-dm volume list printed %q: %w", output, err)
	}
	names := make([]string, 0, len(volumes))
	for _, volume := range volumes {
		names = append(names, volume.Name)
	}
	return names, nil
}

// PoolInfo is what csi-dm pool info says about a pool on its node, as far as tests hold the driver to it.
type PoolInfo struct {
	Name    string `json:"name"`
	Volumes int    `json:"volumes"`
	// LostVolumes are in the registry and not in the pool, UnknownThinDevices in the pool and not in the registry.
	LostVolumes        int `json:"lostVolumes"`
	UnknownThinDevices int `json:"unknownThinDevices"`
}

// PoolInfo asks the driver on a node for its pools.
func (d *Deployment) PoolInfo(ctx context.Context, node string) ([]PoolInfo, error) {
	output, err := d.NodeCommand(ctx, node, "pool", "info", "--output", "json")
	if err != nil {
		return nil, err
	}
	var pools []PoolInfo
	if err := json.Unmarshal([]byte(output), &pools); err != nil {
		return nil, fmt.Errorf("csi-dm pool info printed %q: %w", output, err)
	}
	return pools, nil
}

// NodeCommand runs csi-dm in the driver's pod on a node, as an admin would, and returns its output.
func (d *Deployment) NodeCommand(ctx context.Context, node string, arguments ...string) (string, error) {
	pod, err := d.NodePod(ctx, node)
	if err != nil {
		return "", err
	}
	return d.cluster.Kubectl(ctx, append([]string{"exec", "--namespace", Namespace, pod, "--", "csi-dm"}, arguments...)...)
}
