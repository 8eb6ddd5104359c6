package csi

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// NodeGetVolumeStats tells how full the volume's file system is, or how large a block volume is.
func (n *Node) NodeGetVolumeStats(ctx context.Context, request *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	usage, err := n.stats(ctx, request)
	if err != nil {
		return nil, answer(err)
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: usage}, nil
}

func (n *Node) stats(ctx context.Context, request *csi.NodeGetVolumeStatsRequest) ([]*csi.VolumeUsage, error) {
	id, path := request.GetVolumeId(), request.GetVolumePath()
	if err := volumeid.Check(fieldVolumeID, id); err != nil {
		return nil, err
	}
	if err := n.checkPath(fieldVolumePath, path); err != nil {
		if path != "" {
			// The specification has no bad paths here, only such without the volume.
			err = inField(fieldVolumePath, fmt.Errorf("%w: %s", errNotMounted, err.Error()))
		}
		return nil, err
	}
	if staging := request.GetStagingTargetPath(); staging != "" {
		if err := n.checkPath(fieldStagingPath, staging); err != nil {
			return nil, err
		}
	}
	volume, err := n.find(id, nil)
	if err != nil {
		return nil, err
	}
	open, usage := n.config.Kubelet.Open, fileSystemUsage
	if volume.Format.Type == "" {
		open, usage = n.config.Kubelet.OpenFile, deviceUsage
	}
	place, err := open(path)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w: %w", errNotMounted, err)
	}
	if err != nil {
		return nil, inField(fieldVolumePath, err)
	}
	defer func() { _ = place.Close() }()
	return usage(ctx, volume, place)
}

// fileSystemUsage tells how full the file system is that is mounted on the place, if it is the volume's.
func fileSystemUsage(ctx context.Context, volume pools.Located, place *os.File) ([]*csi.VolumeUsage, error) {
	point, err := filesystem.Inspect(place)
	if err != nil {
		return nil, err
	}
	if !point.Mounted {
		return nil, inField(fieldVolumePath, errNotMounted)
	}
	device, err := volume.Pool.Activate(ctx, volume.Name)
	if err != nil {
		return nil, err
	}
	if err := mountedHere(point, device); err != nil {
		return nil, inField(fieldVolumePath, fmt.Errorf("%w: %w", errNotMounted, err))
	}
	usage, err := filesystem.ReadUsage(place)
	if err != nil {
		return nil, err
	}
	return []*csi.VolumeUsage{
		{Unit: csi.VolumeUsage_BYTES, Total: usage.TotalBytes, Used: usage.UsedBytes, Available: usage.AvailableBytes},
		{Unit: csi.VolumeUsage_INODES, Total: usage.TotalInodes, Used: usage.UsedInodes, Available: usage.AvailableInodes},
	}, nil
}

// deviceUsage tells how large the device is whose node the place is, if it is the volume's. What of it is in use is its user's to
// know.
func deviceUsage(ctx context.Context, volume pools.Located, place *os.File) ([]*csi.VolumeUsage, error) {
	found, err := filesystem.InspectDevice(place)
	if err != nil {
		return nil, err
	}
	if !found.Mounted || !found.Block {
		return nil, inField(fieldVolumePath, errNotMounted)
	}
	path, err := volume.Pool.Activate(ctx, volume.Name)
	if err != nil {
		return nil, err
	}
	device, err := blockdevice.Stat(path)
	if err != nil {
		return nil, err
	}
	if device.Number != (blockdevice.Number{Major: found.Major, Minor: found.Minor}) {
		return nil, inField(fieldVolumePath, fmt.Errorf("%w: %w there: device %d:%d, the volume is %s", errNotMounted, errOtherMount, found.Major, found.Minor, path))
	}
	return []*csi.VolumeUsage{{Unit: csi.VolumeUsage_BYTES, Total: device.Size}}, nil
}
