package csi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// NodeUnstageVolume unmounts the volume and removes its device. The staging directory itself is kubelet's.
func (n *Node) NodeUnstageVolume(ctx context.Context, request *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if err := n.unstage(ctx, request); err != nil {
		return nil, answer(err)
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

func (n *Node) unstage(ctx context.Context, request *csi.NodeUnstageVolumeRequest) error {
	id := request.GetVolumeId()
	if err := volumeid.Check(fieldVolumeID, id); err != nil {
		return err
	}
	if err := n.checkPath(fieldStagingPath, request.GetStagingTargetPath()); err != nil {
		return err
	}
	end, err := n.inFlight.begin(id, "unstage")
	if err != nil {
		return err
	}
	defer end()

	if err := n.unmount(request.GetStagingTargetPath()); err != nil {
		return inField(fieldStagingPath, err)
	}
	volume, err := n.find(id, nil)
	if errors.Is(err, thinpool.ErrVolumeNotFound) {
		return nil // deleted meanwhile: nothing is left to do
	}
	if err != nil {
		return err
	}
	if volume.Format.Type == "" {
		if err := unpublished(ctx, volume); err != nil {
			return err
		}
	}
	if err := volume.Pool.Deactivate(ctx, id); err != nil {
		return err
	}
	if n.config.Released != nil {
		n.config.Released(id)
	}
	return nil
}

// unpublished refuses to take away the device of a block volume whose node is still bound somewhere: unlike a mount, a node does
// not keep its device, and the kernel would give the number to another volume.
func unpublished(ctx context.Context, volume pools.Located) error {
	device, err := volume.Pool.Activate(ctx, volume.Name)
	if err != nil {
		// A device that is there needs nothing of the pool to be found. There is none, and so it is bound nowhere.
		klog.FromContext(ctx).V(4).Info("Block volume has no device to look at", "volume", volume.Name, "err", err)
		return nil
	}
	places, err := filesystem.DevicePlaces(device)
	if err == nil && len(places) > 0 {
		err = fmt.Errorf("%w: %s", errInUseElsewhere, strings.Join(places, ", "))
	}
	return err
}

// unmount removes what is mounted on a path. A path that does not exist has nothing mounted.
func (n *Node) unmount(path string) error {
	parent, name, err := n.config.Kubelet.OpenParent(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	return filesystem.Unmount(parent, name)
}
