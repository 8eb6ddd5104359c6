package thinpool

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// notZeroing is what keeps a pool from holding volumes of tenants that must not see each other's data.
const notZeroing = "this one has skip_block_zeroing, by which a volume shows what a deleted one held (on LVM: lvchange --zero y)"

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
