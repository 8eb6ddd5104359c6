package csi

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// NodeGetVolumeStats tells how full the volume's file system is.
func (n *Node) NodeGetVolumeStats(ctx context.Context, request *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	usage, err := n.stats(ctx, request)
	if err != nil {
		return nil, answer(err)
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
		{Unit: csi.VolumeUsage_BYTES, Total: usage.TotalBytes, Used: usage.UsedBytes, Available: usage.AvailableBytes},
		{Unit: csi.VolumeUsage_INODES, Total: usage.TotalInodes, Used: usage.UsedInodes, Available: usage.AvailableInodes},
	}}, nil
}

func (n *Node) stats(ctx context.Context, request *csi.NodeGetVolumeStatsRequest) (filesystem.Usage, error) {
	id, path := request.GetVolumeId(), request.GetVolumePath()
	if err := volumeid.Check(fieldVolumeID, id); err != nil {
		return filesystem.Usage{}, err
	}
	if err := n.checkPath(fieldVolumePath, path); err != nil {
		return filesystem.Usage{}, err
	}
	volume, err := n.find(id, nil)
	if err != nil {
		return filesystem.Usage{}, err
	}
	directory, err := n.config.Kubelet.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w: %w", errNotMounted, err)
	}
	if err != nil {
		return filesystem.Usage{}, inField(fieldVolumePath, err)
	}
	defer func() { _ = directory.Close() }()
	point, err := filesystem.Inspect(directory)
	if err != nil {
		return filesystem.Usage{}, err
	}
	if !point.Mounted {
		return filesystem.Usage{}, inField(fieldVolumePath, errNotMounted)
	}
	device, err := volume.Pool.Activate(ctx, id)
	if err != nil {
		return filesystem.Usage{}, err
	}
	if err := mountedHere(point, device); err != nil {
		return filesystem.Usage{}, inField(fieldVolumePath, fmt.Errorf("%w: %w", errNotMounted, err))
	}
	return filesystem.ReadUsage(directory)
}
