package csi

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// NodeExpandVolume grows a mounted file system to the size of the volume's device, which has grown by then. It runs no
// program. Of a block volume it only tells the size.
func (n *Node) NodeExpandVolume(ctx context.Context, request *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	size, err := n.expand(ctx, request)
	if err != nil {
		return nil, answer(err)
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: size}, nil
}

func (n *Node) expand(ctx context.Context, request *csi.NodeExpandVolumeRequest) (size int64, err error) {
	id, path := request.GetVolumeId(), request.GetVolumePath()
	if err := volumeid.Check(fieldVolumeID, id); err != nil {
		return 0, err
	}
	badPath := n.checkPath(fieldVolumePath, path)
	if path == "" {
		return 0, badPath
	}
	if err := n.checkExpandExtras(request); err != nil {
		return 0, err
	}
	if err := checkRange(request.GetCapacityRange()); err != nil {
		return 0, err
	}
	end, err := n.inFlight.begin(id, "expand")
	if err != nil {
		return 0, err
	}
	defer end()

	volume, err := n.find(id, nil)
	if err != nil {
		return 0, err
	}
	if badPath != nil {
		// Only now: of a volume that is not there the specification wants to hear that.
		return 0, badPath
	}
	if asked := request.GetCapacityRange(); asked.GetRequiredBytes() > volume.Size || asked.GetLimitBytes() > 0 && asked.GetLimitBytes() < volume.Size {
		return 0, inField(fieldCapacityRange, fmt.Errorf("%w: it has %d bytes", errOtherSize, volume.Size))
	}
	if volume.Format.Type == "" {
		return volume.Size, nil // a block device: whoever has it open sees its size
	}
	return volume.Size, n.growMounted(ctx, volume, path)
}

// growMounted grows the file system of a volume that is mounted at a path. Activate has made the device as large as its record
// says.
func (n *Node) growMounted(ctx context.Context, volume pools.Located, path string) error {
	root, device, err := n.mounted(ctx, volume, path)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := filesystem.Grow(root, device); err != nil || volume.Format.Type != filesystem.XFS {
		return err
	}
	// Also where there was nothing left to grow: an earlier call may have come just so far.
	return volume.Pool.Checkpoint(ctx, volume.Name)
}

// checkExpandExtras refuses what cannot be right in fields that say nothing which the volume does not.
func (n *Node) checkExpandExtras(request *csi.NodeExpandVolumeRequest) error {
	if staging := request.GetStagingTargetPath(); staging != "" {
		if err := n.checkPath(fieldStagingPath, staging); err != nil {
			return err
		}
	}
	if request.GetVolumeCapability() == nil {
		return nil
	}
	_, err := parseCapability(request.GetVolumeCapability())
	return err
}

// checkRange refuses a range that no volume can have. A number that is 0 leaves it open.
func checkRange(asked *csi.CapacityRange) error {
	required, limit := asked.GetRequiredBytes(), asked.GetLimitBytes()
	switch {
	case required < 0:
		return badField(fieldCapacityRange+".required_bytes", "%d is not allowed: 0 or more", required)
	case limit < 0:
		return badField(fieldCapacityRange+".limit_bytes", "%d is not allowed: 0 or more", limit)
	case limit != 0 && limit < required:
		return badField(fieldCapacityRange+".limit_bytes", "%d is not allowed: at least required_bytes, which is %d", limit, required)
	}
	return nil
}
