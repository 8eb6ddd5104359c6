package csi

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
)

// nodeMode is the mode of the file that the node of a device is bound on; the node covers it.
const nodeMode os.FileMode = 0o600

// publishDevice binds the node of the volume's device on the target, a file that it makes.
func (n *Node) publishDevice(ctx context.Context, request *csi.NodePublishVolumeRequest, volume pools.Located, wanted access) error {
	staging, err := n.config.Kubelet.Open(request.GetStagingTargetPath())
	if err != nil {
		return inDirectory(fieldStagingPath, err)
	}
	_ = staging.Close()
	// Staging has made it; this finds it, and holds it while its node is bound.
	_, device, err := activate(ctx, volume)
	if err != nil {
		return err
	}
	defer func() { _ = device.Close() }()
	path := request.GetTargetPath()
	target, err := n.config.Kubelet.MakeFile(path, nodeMode)
	if err != nil {
		return inDirectory(fieldTargetPath, err)
	}
	defer func() { _ = target.Close() }()
	place, err := filesystem.InspectDevice(target)
	if err != nil {
		return err
	}
	if place.Mounted {
		return inField(fieldTargetPath, publishedDevice(place, device, wanted))
	}
	if err := bindDevice(target, device, wanted); err != nil {
		_ = n.config.Kubelet.Remove(path)
		return err
	}
	return nil
}

// bindDevice binds the node once the device is as the request wants it.
//
// A read-only mount does not keep anybody from writing to a device whose node it shows. The device itself is set read-only: the
// kernel then refuses writes, whoever has it open and by whatever node. So all places of a volume are read-only, or none.
func bindDevice(target, device *os.File, wanted access) error {
	others, err := filesystem.DevicePlaces(device.Name())
	if err != nil {
		return err
	}
	if wanted.singleWriter && len(others) > 0 {
		return fmt.Errorf("%w: %s; its access mode allows one place", errInUseElsewhere, strings.Join(others, ", "))
	}
	readOnly, err := blockdevice.ReadOnly(device)
	if err != nil {
		return err
	}
	if readOnly != wanted.readOnly {
		if len(others) > 0 {
			return fmt.Errorf("%w: %s; read-only is %t there, wanted is %t: a block volume is read-only in all places or in none",
				errInUseElsewhere, strings.Join(others, ", "), readOnly, wanted.readOnly)
		}
		if err := blockdevice.SetReadOnly(device, wanted.readOnly); err != nil {
			return err
		}
	}
	return filesystem.Bind(device, target, wanted.readOnly)
}

// publishedDevice tells whether what is mounted on the target is what is wanted there.
func publishedDevice(place filesystem.DevicePlace, device *os.File, wanted access) error {
	number, err := blockdevice.NumberOf(device)
	if err != nil {
		return err
	}
	if !place.Block || place.Major != number.Major || place.Minor != number.Minor {
		return fmt.Errorf("%w there: it is not %s", errOtherMount, device.Name())
	}
	readOnly, err := blockdevice.ReadOnly(device)
	if err != nil {
		return err
	}
	if readOnly != wanted.readOnly {
		return fmt.Errorf("%w: read-only is %t, wanted is %t", errDiffers, readOnly, wanted.readOnly)
	}
	return nil
}
