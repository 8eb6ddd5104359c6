package csi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// NodeStageVolume makes the volume's device and mounts it on the staging path. The device is all that a block volume needs.
func (n *Node) NodeStageVolume(ctx context.Context, request *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	err := n.stage(ctx, request)
	n.config.Monitor.Staged(request.GetVolumeId(), err)
	if err != nil {
		return nil, answer(err)
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

func (n *Node) stage(ctx context.Context, request *csi.NodeStageVolumeRequest) error {
	id := request.GetVolumeId()
	if err := volumeid.Check(fieldVolumeID, id); err != nil {
		return err
	}
	if err := n.checkPath(fieldStagingPath, request.GetStagingTargetPath()); err != nil {
		return err
	}
	wanted, err := parseCapability(request.GetVolumeCapability())
	if err != nil {
		return err
	}
	mode, err := rootMode(request.GetVolumeContext())
	if err != nil {
		return err
	}
	end, err := n.inFlight.begin(id, "stage")
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
	// Kubelet makes it, for a block volume as well.
	target, err := n.config.Kubelet.Open(request.GetStagingTargetPath())
	if err != nil {
		return inDirectory(fieldStagingPath, err)
	}
	defer func() { _ = target.Close() }()

	device, held, err := activate(ctx, volume)
	if err != nil {
		return err
	}
	if !wanted.block {
		err = n.stageDevice(ctx, device, fsType, options.WithRootMode(mode), target)
	}
	// Only then can the device be removed, if something went wrong.
	if err = errors.Join(err, held.Close()); err != nil {
		return errors.Join(err, deactivate(ctx, volume))
	}
	return nil
}

// stageDevice mounts the device on target, unless it is mounted there.
func (n *Node) stageDevice(ctx context.Context, device string, t filesystem.Type, options filesystem.MountOptions, target *os.File) error {
	point, err := filesystem.Inspect(target)
	if err != nil {
		return err
	}
	if point.Mounted {
		if err := mountedHere(point, device); err != nil {
			return inField(fieldStagingPath, err)
		}
		if err := sameContext(point, options); err != nil {
			return err
		}
		return n.settle(t, device)
	}
	if err := n.mount(ctx, device, t, options, target); err != nil {
		return err
	}
	if err := n.settle(t, device); err != nil {
		// Without its settings the volume could hang its pod for ever: it is not left mounted.
		return errors.Join(err, n.unmount(target.Name()))
	}
	return nil
}

// sameContext refuses options with another security label than the file system is mounted with: it has one for all of its mounts.
// Options without one ask for none.
func sameContext(point filesystem.MountPoint, options filesystem.MountOptions) error {
	if options.Context() == "" {
		return nil
	}
	mounted, err := point.Context()
	if err != nil {
		return err
	}
	return labelsDiffer(mounted, options.Context())
}

func labelsDiffer(mounted, wanted string) error {
	if filesystem.SameContext(mounted, wanted) {
		return nil
	}
	return inField(fieldMountFlags, fmt.Errorf("%w: context is %q, wanted is %q", errStagedOtherwise, mounted, wanted))
}

// mountedHere refuses a mount that is not the device's.
func mountedHere(point filesystem.MountPoint, device string) error {
	same, err := point.IsDevice(device)
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("%w there: device %d:%d, the volume is %s", errOtherMount, point.Major, point.Minor, device)
	}
	return nil
}

// mount looks at the superblock, repairs what asks for it, and mounts, growing a file system that is smaller than its device.
// It never formats.
func (n *Node) mount(ctx context.Context, device string, t filesystem.Type, options filesystem.MountOptions, target *os.File) error {
	superblock, err := readSuperblock(device)
	if errors.Is(err, filesystem.ErrNoFileSystem) {
		return fmt.Errorf("%w: made as %s, found on %s: %w; nothing was changed", errNotFormatted, t, device, err)
	}
	if err != nil {
		return err
	}
	if superblock.Type != t {
		return fmt.Errorf("%w: made as %s, found on %s: %s; nothing was changed", errNotFormatted, t, device, superblock.Type)
	}
	described, err := blockdevice.Stat(device)
	if err != nil {
		return err
	}
	if superblock.Smaller(described.Size) {
		klog.FromContext(ctx).Info("Growing a file system to the size of its device", "device", device, "fileSystemBytes", superblock.Size, "deviceBytes", described.Size)
		options = options.Growing()
	}
	if superblock.Errors {
		klog.FromContext(ctx).Info("File system carries the mark of an error, checking it", "device", device)
		if err := n.check(device); err != nil { //nolint:contextcheck // it may outlast the call
			return err
		}
	}
	err = filesystem.Mount(device, t, options, target)
	if t != filesystem.Ext4 || !filesystem.Damaged(err) {
		return err
	}
	klog.FromContext(ctx).Info("Kernel found the file system damaged, checking it", "device", device, "err", err)
	if err := n.check(device); err != nil { //nolint:contextcheck // it may outlast the call
		return err
	}
	return filesystem.Mount(device, t, options, target)
}

func (n *Node) check(device string) error {
	ctx, cancel := context.WithTimeout(n.lifetime, checkLimit)
	defer cancel()
	return filesystem.CheckExt4(ctx, device)
}

// settle sets what can be set only once a file system is mounted.
func (n *Node) settle(t filesystem.Type, device string) error {
	if t != filesystem.XFS {
		return nil
	}
	return filesystem.SetXFSNoSpaceRetries(device, n.config.XFSNoSpaceRetries)
}

func readSuperblock(device string) (filesystem.Superblock, error) {
	file, err := os.Open(device)
	if err != nil {
		return filesystem.Superblock{}, err
	}
	defer func() { _ = file.Close() }()
	return filesystem.ReadSuperblock(file)
}

// activate makes the volume's device and holds it open: until the file is closed the device stays, and its number, which
// the kernel gives to another device else, is this volume's.
func activate(ctx context.Context, volume pools.Located) (device string, held *os.File, err error) {
	device, err = volume.Pool.Activate(ctx, volume.Name)
	if err != nil {
		return "", nil, err
	}
	held, err = os.Open(device)
	if err != nil {
		return "", nil, errors.Join(err, deactivate(ctx, volume))
	}
	// A deletion may have come before the file was open. Now nothing changes any more, so it is enough to ask again.
	again, err := volume.Pool.Activate(ctx, volume.Name)
	if err == nil && again != device {
		err = fmt.Errorf("%w: its device was %s and is %s", errInFlight, device, again)
	}
	if err != nil {
		return "", nil, errors.Join(err, held.Close())
	}
	return device, held, nil
}

// deactivate takes back an activation after a failure, also if the call's time is over by then. A device that is in use
// is not this call's to remove.
func deactivate(ctx context.Context, volume pools.Located) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := volume.Pool.Deactivate(ctx, volume.Name); err != nil && !errors.Is(err, thinpool.ErrVolumeInUse) {
		return err
	}
	return nil
}
