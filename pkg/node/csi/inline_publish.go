package csi

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// undoLimit bounds what takes back a publication that failed.
const undoLimit = 30 * time.Second

// publishInline makes the volume, unless it is there, and mounts it in the pod's directory. A volume that this call has made is
// gone again if the call fails; one that was there stays: the pod has written to it.
func (n *Node) publishInline(ctx context.Context, request *csi.NodePublishVolumeRequest) (err error) {
	wanted, err := n.parseInline(request)
	if err != nil {
		return err
	}
	end, err := n.inFlight.begin(wanted.spec.Name, "publish")
	if err != nil {
		return err
	}
	defer end()
	n.missing.found(wanted.spec.Name)

	// Before the volume, so that none is made for a pod that kubelet has no directory for, see reclaim.
	target, err := n.config.Kubelet.MakeDirectory(wanted.target, targetMode)
	if err != nil {
		return inDirectory(fieldTargetPath, err)
	}
	defer func() { _ = target.Close() }()
	pool, err := n.config.Pools.Get(wanted.pool)
	if err != nil {
		return errors.Join(inField(fieldVolumeContext, err), n.config.Kubelet.Remove(wanted.target))
	}
	_, lookup := pool.Volume(wanted.spec.Name)
	volume, err := pool.CreateVolume(ctx, wanted.spec)
	if err == nil {
		err = n.mountInline(ctx, pools.Located{Volume: volume, PoolName: wanted.pool, Pool: pool}, wanted, target)
	}
	if err == nil {
		if lookup != nil {
			n.inlineChanged(wanted.pool)
		}
		return nil
	}
	if errors.Is(lookup, thinpool.ErrVolumeNotFound) && volume.Owner != "" {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
		defer cancel()
		err = errors.Join(err, pool.DeleteVolume(ctx, volume.Name))
	}
	// It goes if nothing is mounted on it.
	_ = n.config.Kubelet.Remove(wanted.target)
	return err
}

// mountInline mounts the volume on the target, unless it is mounted there.
func (n *Node) mountInline(ctx context.Context, volume pools.Located, wanted inlineRequest, target *os.File) error {
	device, held, err := activate(ctx, volume)
	if err != nil {
		return err
	}
	err = n.mountDevice(ctx, device, wanted, target)
	// Only then can the device be removed, if something went wrong.
	if err = errors.Join(err, held.Close()); err != nil {
		return errors.Join(err, deactivate(ctx, volume))
	}
	return nil
}

func (n *Node) mountDevice(ctx context.Context, device string, wanted inlineRequest, target *os.File) error {
	point, err := filesystem.Inspect(target)
	if err != nil {
		return err
	}
	fsType := wanted.spec.Format.Type
	if point.Mounted {
		if err := mountedHere(point, device); err != nil {
			return inField(fieldTargetPath, err)
		}
		if err := published(point, filesystem.MountPoint{Major: point.Major, Minor: point.Minor}, access{readOnly: wanted.readOnly}); err != nil {
			return inField(fieldTargetPath, err)
		}
		return n.settle(fsType, device)
	}
	if err := n.mount(ctx, device, fsType, wanted.options, target); err != nil {
		return err
	}
	if err := n.settle(fsType, device); err != nil {
		// Without its settings the volume could hang its pod for ever: it is not left mounted.
		return errors.Join(err, n.unmount(wanted.target))
	}
	return nil
}

// inlineChanged says that a pool holds another sum of inline volumes.
func (n *Node) inlineChanged(pool string) {
	if n.config.InlineChanged != nil {
		n.config.InlineChanged(pool)
	}
}
