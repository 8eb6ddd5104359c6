package thinpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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

// notZeroing is what keeps a pool from holding volumes of tenants that must not see each other's data.
const notZeroing = "this one has skip_block_zeroing, by which a volume shows what a deleted one held (on LVM: lvchange --zero y)"

const fieldThinPoolDevice = "source.thinPoolDevice"

// openHanded opens a pool that was handed over, and takes it over where it was not yet. On an error what it made is taken
// back; the pool is left where it is.
func (p *Pool) openHanded(ctx context.Context) (err error) {
	found, err := findPool(ctx, p.dm, p.config.Source.ThinPoolDevice)
	if err != nil {
		return err
	}
	if err := found.suits(p.config); err != nil {
		return err
	}
	p.handed, p.device, p.metadataPath = &found, found.Device, found.metadata.Node
	p.stack = stack{dm: p.dm}
	p.label = label{Version: labelVersion, PoolName: p.config.Name, State: stateReady, BlockSectors: found.target.BlockSectors}
	p.paths = []string{found.path}
	if found.status.TransactionID != transactionTaken {
		if err := p.takeOver(ctx, found); err != nil {
			return err
		}
	}
	var made parts
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stack.undo(ctx, made))
		}
	}()
	device, err := p.ensureRegistryThin(ctx, &made)
	if err != nil {
		return err
	}
	if err := p.checkRegistryThin(ctx, device); err != nil {
		return err
	}
	return p.startOn(ctx, device.Path(), nil)
}

// identify ties the pool to what its registry says it is.
func (p *Pool) identify(record poolRecord) error {
	if p.handed != nil {
		if record.PoolName != p.config.Name {
			return fmt.Errorf("%w: %s is pool %q (%s), not %q", ErrForeignPool, p.handed.path, record.PoolName, record.PoolID, p.config.Name)
		}
		p.label.PoolID = record.PoolID
		p.stack.id = record.PoolID
	}
	if record.PoolID != p.label.PoolID || record.BlockSectors != p.label.BlockSectors {
		return fmt.Errorf("%w: the registry is of pool %s with blocks of %d sectors, the pool is %s with %d",
			ErrPoolDamaged, record.PoolID, record.BlockSectors, p.label.PoolID, p.label.BlockSectors)
	}
	return nil
}

// lookAtTable notices what the owner of a pool that was handed over has changed of it: without zeroing it takes no new
// volume until that is undone.
func (p *Pool) lookAtTable(ctx context.Context) error {
	if p.handed == nil {
		return nil
	}
	table, err := p.dm.Table(ctx, p.device, devicemapper.TableOptions{})
	if err != nil {
		return err
	}
	target, isPool := table[0].Target.(devicemapper.ThinPool)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.unfit = nil
	if isPool && target.SkipBlockZeroing {
		p.unfit = fmt.Errorf("%w: %s: %s: %s", ErrPoolFailed, fieldThinPoolDevice, p.handed.path, notZeroing)
	}
	return nil
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

// suits refuses a pool that must not hold volumes, whether it is csi-dm's already or not.
func (h *handedPool) suits(config Config) error {
	switch {
	case strings.HasPrefix(string(h.UUID), "CSIDM-"):
		return fmt.Errorf("%w: %s: %s was made by csi-dm for another source", ErrForeignPool, fieldThinPoolDevice, h.path)
	case h.status.Mode == devicemapper.PoolModeFailed || h.status.Mode == devicemapper.PoolModeError:
		return fmt.Errorf("%w: %s: %s: %s", ErrPoolFailed, fieldThinPoolDevice, h.path, failureOf(h.status))
	case h.target.SkipBlockZeroing:
		return &FieldError{Field: fieldThinPoolDevice, Value: h.path, Allowed: "a pool that zeroes new blocks; " + notZeroing}
	case config.BlockSize != 0 && config.BlockSize != h.target.BlockSectors.Bytes():
		return fmt.Errorf("%w: blockSize is %d, the pool %s has %d; leave it out to take the pool's", ErrSourceChanged, config.BlockSize, h.path, h.target.BlockSectors.Bytes())
	}
	return nil
}
