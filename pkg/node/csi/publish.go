package csi

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/parameters"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// targetMode is the mode of the directory that is made for a mount; the volume's own root covers it.
const targetMode os.FileMode = 0o750

// NodePublishVolume shows the staged volume in the pod's directory, which it makes, or the device of a block volume at a file.
func (n *Node) NodePublishVolume(ctx context.Context, request *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if err := n.publish(ctx, request); err != nil {
		return nil, answer(err)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (n *Node) publish(ctx context.Context, request *csi.NodePublishVolumeRequest) error {
	id := request.GetVolumeId()
	if err := volumeid.Check(fieldVolumeID, id); err != nil {
		return err
	}
	if err := n.checkPath(fieldTargetPath, request.GetTargetPath()); err != nil {
		return err
	}
	inline, err := parameters.IsInline(request.GetVolumeContext())
	if err != nil {
		return badField(fieldVolumeContext, "%w", err)
	}
	if inline {
		return n.publishInline(ctx, request)
	}
	if err := n.checkPath(fieldStagingPath, request.GetStagingTargetPath()); err != nil {
		return err
	}
	wanted, err := parseCapability(request.GetVolumeCapability())
	if err != nil {
		return err
	}
	wanted.readOnly = wanted.readOnly || request.GetReadonly()
	end, err := n.inFlight.begin(id, "publish")
	if err != nil {
		return err
	}
	defer end()

	volume, err := n.find(id, request.GetVolumeContext())
	if err != nil {
		return err
	}
	if err := notInline(volume.Volume); err != nil {
		return err
	}
	fsType, err := wanted.typeFor(volume.Format.Type)
	if err != nil {
		return err
	}
	options, err := wanted.options(fsType)
	if err != nil {
		return err
	}
	if wanted.block {
		return n.publishDevice(ctx, request, volume, wanted)
	}
	staging, staged, err := n.staged(ctx, request, volume)
	if err != nil {
		return err
	}
	defer func() { _ = staging.Close() }()
	if err := sameContext(staged, options); err != nil {
		return err
	}
	return n.bind(request.GetTargetPath(), staging, staged, wanted)
}

// staged opens the staging path and sees that the volume, and nothing else, is mounted there.
func (n *Node) staged(ctx context.Context, request *csi.NodePublishVolumeRequest, volume pools.Located) (*os.File, filesystem.MountPoint, error) {
	refuse := func(err error) (*os.File, filesystem.MountPoint, error) { return nil, filesystem.MountPoint{}, err }
	staging, err := n.config.Kubelet.Open(request.GetStagingTargetPath())
	if err != nil {
		return refuse(inDirectory(fieldStagingPath, err))
	}
	point, err := filesystem.Inspect(staging)
	if err == nil && !point.Mounted {
		err = inField(fieldStagingPath, errNotStaged)
	}
	if err == nil {
		var device string
		// It is active, being mounted: this only asks which device it is.
		if device, err = volume.Pool.Activate(ctx, volume.Name); err == nil {
			err = inField(fieldStagingPath, mountedHere(point, device))
		}
	}
	if err != nil {
		_ = staging.Close()
		return refuse(err)
	}
	return staging, point, nil
}

// bind puts the staged mount on the target, unless it is there.
func (n *Node) bind(path string, staging *os.File, staged filesystem.MountPoint, wanted access) error {
	target, err := n.config.Kubelet.MakeDirectory(path, targetMode)
	if err != nil {
		return inDirectory(fieldTargetPath, err)
	}
	defer func() { _ = target.Close() }()
	point, err := filesystem.Inspect(target)
	if err != nil {
		return err
	}
	if point.Mounted {
		return inField(fieldTargetPath, published(point, staged, wanted))
	}
	if err := n.bindAnew(target, staging, staged, wanted); err != nil {
		// Nothing is mounted on it, and it may have been there before: it goes if it is empty.
		_ = n.config.Kubelet.Remove(path)
		return err
	}
	return nil
}

func (n *Node) bindAnew(target, staging *os.File, staged filesystem.MountPoint, wanted access) error {
	if wanted.singleWriter {
		others, err := staged.OtherMounts()
		if err != nil {
			return err
		}
		if len(others) > 0 {
			return fmt.Errorf("%w: %s; its access mode allows one place", errInUseElsewhere, strings.Join(others, ", "))
		}
	}
	return filesystem.Bind(staging, target, wanted.readOnly)
}

// published tells whether what is mounted on the target is what is wanted there.
func published(point, staged filesystem.MountPoint, wanted access) error {
	if point.Major != staged.Major || point.Minor != staged.Minor {
		return fmt.Errorf("%w there: device %d:%d", errOtherMount, point.Major, point.Minor)
	}
	// A volume that was staged read-only is so wherever it is shown.
	if point.ReadOnly != (wanted.readOnly || staged.ReadOnly) {
		return fmt.Errorf("%w: read-only is %t, wanted is %t", errDiffers, point.ReadOnly, wanted.readOnly)
	}
	return nil
}
