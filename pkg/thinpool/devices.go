package thinpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// removeTimeout is how long a device of the pool's own may be held open by a prober before its removal fails.
const removeTimeout = 5 * time.Second

// stack is the pool's own kernel devices: linear ones for registry, metadata and data, and the thin pool on the last two.
type stack struct {
	dm *devicemapper.Client
	id poolID
}

// parts is what Open has made of a stack, as far as it was not there before.
type parts []devicemapper.Device

// undo removes what a failed Open has made, so that the devices below are free again. What was there before may be in use
// and stays.
func (s stack) undo(ctx context.Context, made parts) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	var errs []error
	for _, device := range slices.Backward(made) {
		if err := s.remove(ctx, device); err != nil {
			errs = append(errs, fmt.Errorf("undo: %w", err))
		}
	}
	return errors.Join(errs...)
}

// ensure gives the device of that name, active with that table: the one that is there, if it is the same, or a new one. A
// process that died may have left one without its table, or suspended.
func (s stack) ensure(ctx context.Context, name devicemapper.Name, uuid devicemapper.UUID, table devicemapper.Table) (device devicemapper.Device, adopted bool, err error) {
	device, err = s.dm.Activate(ctx, name, uuid, table)
	if !errors.Is(err, devicemapper.ErrExist) {
		return device, false, err
	}
	device, err = s.adopt(ctx, name, uuid, table)
	return device, true, err
}

// errNameTaken: a device that does not belong to the pool has a name that the pool needs, or one of the pool's own has just
// been removed.
var errNameTaken = errors.New("a device of that name exists and does not belong to the pool")

func (s stack) adopt(ctx context.Context, name devicemapper.Name, uuid devicemapper.UUID, table devicemapper.Table) (devicemapper.Device, error) {
	info, err := s.dm.Info(ctx, uuid)
	if errors.Is(err, devicemapper.ErrNotExist) {
		return devicemapper.Device{}, fmt.Errorf("%w: %w: device %s", ErrForeignPool, errNameTaken, name)
	}
	if err != nil {
		return devicemapper.Device{}, err
	}
	if info.Name != name {
		return devicemapper.Device{}, fmt.Errorf("%w: device %s with uuid %s should be named %s", ErrPoolDamaged, info.Name, uuid, name)
	}
	if info.DeferredRemove {
		if err := s.dm.CancelDeferredRemove(ctx, info.Device); err != nil {
			return devicemapper.Device{}, err
		}
	}
	if !info.LiveTable {
		// Whoever made it died before its first resume.
		if err := s.dm.Load(ctx, info.Device, table, devicemapper.LoadOptions{}); err != nil {
			return devicemapper.Device{}, err
		}
		return info.Device, s.dm.Resume(ctx, info.Device)
	}
	if info.Suspended {
		if err := s.resume(ctx, info); err != nil {
			return devicemapper.Device{}, err
		}
	}
	return info.Device, s.conform(ctx, info.Device, table)
}

// resume lets I/O go on as before: a table that somebody loaded and did not put in force is dropped.
func (s stack) resume(ctx context.Context, info devicemapper.Info) error {
	if info.InactiveTable {
		if err := s.dm.Clear(ctx, info.Device); err != nil {
			return err
		}
	}
	return s.dm.Resume(ctx, info.Device)
}

// conform checks that an active device maps what it must, and makes it longer where growing was cut. Of a thin pool's
// table only what never changes is looked at; applyPolicy sees to the rest.
func (s stack) conform(ctx context.Context, device devicemapper.Device, want devicemapper.Table) error {
	have, err := s.dm.Table(ctx, device, devicemapper.TableOptions{})
	if err != nil {
		return err
	}
	if len(have) == 1 && len(want) == 1 {
		havePool, isPool := have[0].Target.(devicemapper.ThinPool)
		wantPool, wantsPool := want[0].Target.(devicemapper.ThinPool)
		if isPool && wantsPool && have[0].Length <= want[0].Length && havePool.Metadata == wantPool.Metadata &&
			havePool.Data == wantPool.Data && havePool.BlockSectors == wantPool.BlockSectors {
			return nil
		}
	}
	if slices.Equal(have, want) {
		return nil
	}
	if !extends(want, have) {
		return fmt.Errorf("%w: device %s is active with the table %q instead of %q", ErrSourceChanged, device.Name, have, want)
	}
	return s.swap(ctx, device, want, have, failPoolSuspended)
}

// ensurePart gives one of the pool's own devices, and notes in made whether it was made for that.
func (s stack) ensurePart(ctx context.Context, part string, table devicemapper.Table, made *parts) (devicemapper.Device, error) {
	device, adopted, err := s.ensure(ctx, s.id.partName(part), s.id.partUUID(part), table)
	if err == nil && !adopted {
		*made = append(*made, device)
	}
	return device, err
}

// removeParts removes the pool's own devices, those on top first. One that does not exist is no error.
func (s stack) removeParts(ctx context.Context) error {
	for _, part := range []string{partPool, partData, partMetadata, partRegistry} {
		if err := s.remove(ctx, s.id.partUUID(part)); err != nil {
			return err
		}
	}
	return nil
}

func (s stack) remove(ctx context.Context, ref devicemapper.Ref) error {
	_, err := s.dm.Remove(ctx, ref, devicemapper.RemoveOptions{BusyTimeout: removeTimeout})
	if errors.Is(err, devicemapper.ErrNotExist) {
		return nil
	}
	return err
}

// policy is what of a thin-pool table may change while it is active.
type policy struct {
	errorIfNoSpace    bool
	noDiscardPassdown bool
	lowWater          devicemapper.DataBlocks
}

func policyOf(c Config, data devicemapper.Sectors, block devicemapper.Sectors) policy {
	blocks := uint64(data / block)
	// An event when free space reaches the share from which on nothing is admitted; 1% where there is none.
	percent := uint64(max(1, c.MinFreePercent))
	return policy{
		errorIfNoSpace: c.ErrorIfNoSpace, noDiscardPassdown: !c.DiscardPassdown,
		lowWater: devicemapper.DataBlocks((blocks*percent + 99) / 100),
	}
}

func poolTable(metadata, data devicemapper.DeviceNumber, length, block devicemapper.Sectors, p policy) devicemapper.Table {
	return devicemapper.Table{{Length: length, Target: devicemapper.ThinPool{
		Metadata: metadata, Data: data, BlockSectors: block, LowWaterBlocks: p.lowWater,
		ErrorIfNoSpace: p.errorIfNoSpace, NoDiscardPassdown: p.noDiscardPassdown,
	}}}
}
