package thinpool

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// handedPool is a pool that somebody else made and handed over (Source.ThinPoolDevice), as device mapper has it. Its table
// and the devices below stay its maker's, and so do its size and what it does when it is full. What is in it is csi-dm's
// alone once it is taken over (takeover.go).
type handedPool struct {
	devicemapper.Info
	path   string // that the source names
	target devicemapper.ThinPool
	status devicemapper.ThinPoolStatus
	// metadata is the pool's metadata device; dataName and metadataName are what people know the devices below by.
	metadata               blockdevice.Description
	dataName, metadataName string
}

const fieldThinPoolDevice = "source.thinPoolDevice"

// findPool looks at the pool that a path leads to. It changes nothing.
func findPool(ctx context.Context, dm *devicemapper.Client, path string) (handedPool, error) {
	found := handedPool{path: path}
	description, err := sourcePath{fieldThinPoolDevice, path}.describe()
	if err != nil {
		return found, err
	}
	found.Info, err = dm.Info(ctx, devicemapper.DeviceNumber(description.Number))
	if errors.Is(err, devicemapper.ErrNotExist) {
		return found, found.noPool("it is not a device of device mapper")
	}
	if err != nil {
		return found, err
	}
	if found.Suspended || !found.LiveTable {
		return found, fmt.Errorf("%w: %s: %s is suspended or has no table: its owner is changing it", ErrDeviceInUse, fieldThinPoolDevice, path)
	}
	table, err := dm.Table(ctx, found.Device, devicemapper.TableOptions{})
	if err != nil {
		return found, err
	}
	target, isPool := table[0].Target.(devicemapper.ThinPool)
	if !isPool {
		return found, found.noPool(whyNoPool(ctx, dm, table))
	}
	found.target = target
	if found.status, err = dm.ThinPoolStatus(ctx, found.Device); err != nil {
		return found, err
	}
	return found, found.findBelow(ctx, dm)
}

func (h *handedPool) noPool(why string) error {
	return &FieldError{Field: fieldThinPoolDevice, Value: h.path, Allowed: "an active thin pool of device mapper; " + why}
}

// whyNoPool says what a device is that is no pool. Over a pool that holds, or held, thin volumes of its own, LVM puts a
// layer that carries the pool's name.
func whyNoPool(ctx context.Context, dm *devicemapper.Client, table devicemapper.Table) string {
	if layer, ok := table[0].Target.(devicemapper.Linear); ok && len(table) == 1 {
		below, err := dm.Table(ctx, layer.Device, devicemapper.TableOptions{})
		if err == nil && len(below) == 1 && below[0].Target.Type() == devicemapper.TypeThinPool {
			return "this is a layer over a pool that LVM has had thin volumes in"
		}
	}
	return fmt.Sprintf("its target is %s", table[0].Target.Type())
}

// findBelow finds the devices below the pool.
func (h *handedPool) findBelow(ctx context.Context, dm *devicemapper.Client) error {
	data, err := blockdevice.ByNumber(blockdevice.Number(h.target.Data))
	if err != nil {
		return err
	}
	if h.metadata, err = blockdevice.ByNumber(blockdevice.Number(h.target.Metadata)); err != nil {
		return err
	}
	h.dataName, h.metadataName = nameOf(ctx, dm, data), nameOf(ctx, dm, h.metadata)
	return nil
}

// nameOf is the path by which people know a device: for one of device mapper the one with its name.
func nameOf(ctx context.Context, dm *devicemapper.Client, device blockdevice.Description) string {
	if info, err := dm.Info(ctx, devicemapper.DeviceNumber(device.Number)); err == nil {
		return "/dev/mapper/" + string(info.Name)
	}
	return device.Node
}

// devicesBelow gives the paths of the devices below the pool. The mutex must be held.
func (p *Pool) devicesBelow() (data []string, metadata string) {
	switch {
	case p.handed != nil:
		return []string{p.handed.dataName}, p.handed.metadataName
	case p.config.Source.separate():
		return p.paths[:1:1], p.paths[1]
	}
	return slices.Clone(p.paths), p.paths[0]
}
