package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// registryThinID is the thin device that the registry of a pool which was handed over lies on: the last of all ids, so that
// nobody who counts from below ever comes to it. No volume gets it, in any pool.
const registryThinID = uint32(devicemapper.MaxThinID)

// The registry's device carries the number of its pool and not the pool's identity, which is read from it. The kernel keeps
// it unique: a pool cannot go, nor its number, while a thin device of it is active.
func registryThinName(pool devicemapper.DeviceNumber) devicemapper.Name {
	return devicemapper.Name(fmt.Sprintf("csi-dm-registry-%d-%d", pool.Major, pool.Minor))
}

func registryThinUUID(pool devicemapper.DeviceNumber) devicemapper.UUID {
	return devicemapper.UUID(fmt.Sprintf("CSIDM-registry-%d-%d", pool.Major, pool.Minor))
}

// ensureRegistryThin gives the registry's device, active. What it made for that is noted in made.
func (p *Pool) ensureRegistryThin(ctx context.Context, made *parts) (devicemapper.Device, error) {
	number := p.device.Number
	device, adopted, err := p.stack.ensure(ctx, registryThinName(number), registryThinUUID(number), p.thinTable(registryThinID, registryArea))
	if errors.Is(err, devicemapper.ErrThinNotExist) {
		return device, fmt.Errorf("%w: the pool is marked as csi-dm's and does not hold the registry: %w", ErrPoolDamaged, err)
	}
	if err == nil && !adopted {
		*made = append(*made, device)
	}
	return device, err
}

// makeRegistryThin makes the thin device and the registry on it. Every block is written before the first byte of the
// registry, so that neither a commit nor the file system's journal ever needs a block that a full pool does not have.
func (p *Pool) makeRegistryThin(ctx context.Context, record poolRecord) (err error) {
	if err := p.dm.CreateThin(ctx, p.device, devicemapper.ThinID(registryThinID)); err != nil {
		return p.messageFailure(ctx, err)
	}
	if _, err := p.healthy(ctx); err != nil {
		return err
	}
	reached(failTakeThin)
	var made parts
	device, err := p.ensureRegistryThin(ctx, &made)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stack.undo(ctx, made))
		}
	}()
	if err := zeroDevice(ctx, device.Path(), registryArea); err != nil {
		return fmt.Errorf("write the registry's blocks: %w", err)
	}
	reached(failTakeMapped)
	if err := formatRegistry(ctx, device.Path()); err != nil {
		return err
	}
	reached(failTakeFormatted)
	if err := makeRegistry(device.Path(), record); err != nil {
		return err
	}
	return p.checkRegistryThin(ctx, device)
}

// checkRegistryThin makes sure that the registry has all its blocks.
func (p *Pool) checkRegistryThin(ctx context.Context, device devicemapper.Device) error {
	status, err := p.dm.ThinStatus(ctx, device)
	if err != nil {
		return err
	}
	block := p.label.BlockSectors.Bytes()
	if want := roundUp(registryArea, block); status.State != devicemapper.ThinStateOK || status.MappedSectors.Bytes() != want {
		return fmt.Errorf("%w: %d bytes of the registry's device are mapped instead of %d, state %q", ErrPoolDamaged, status.MappedSectors.Bytes(), want, status.State)
	}
	return nil
}

// zeroDevice writes zeros to the first size bytes of a device and flushes them.
func zeroDevice(ctx context.Context, path string, size int64) (err error) {
	device, err := os.OpenFile(path, os.O_RDWR|os.O_EXCL, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := device.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return device.Sync()
}
