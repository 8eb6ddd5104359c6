package thinpool

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
)

// A pool that was handed over has no place for a label. How far it has come stands in the number that the kernel keeps in a
// pool's metadata for its owner, the transaction id; its identity stands in the registry.
//
// The number also keeps LVM away. LVM puts a thin volume only into a pool whose number is the one that LVM has recorded,
// and does not look at it otherwise while that is 0, as for a pool that never had a thin volume of LVM's (lv_is_new_thin_pool
// in lvm2's lib/metadata): it goes on activating, extending and repairing the pool.
const (
	// transactionNone: nobody has counted here.
	transactionNone uint64 = 0
	// transactionTaking is "csi-dm" and 1: nothing in the pool was acknowledged yet, and it is taken over anew.
	transactionTaking uint64 = 0x6373692d646d0001
	// transactionTaken is "csi-dm" and 2: the pool holds a registry. Nothing of it is ever formatted again.
	transactionTaken uint64 = 0x6373692d646d0002
)

// takeOver makes a pool csi-dm's that nobody uses, or goes on where that was cut.
func (p *Pool) takeOver(ctx context.Context, found handedPool) error {
	switch found.status.TransactionID {
	case transactionNone:
	case transactionTaking:
		if err := p.stack.remove(ctx, registryThinUUID(found.Number)); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: %s: the transaction id of %s is %d and would be 0 in a pool that nobody has used", ErrDeviceInUse, fieldThinPoolDevice, found.path, found.status.TransactionID)
	}
	if err := p.checkRoom(found); err != nil {
		return err
	}
	if err := p.checkUnused(ctx, found); err != nil {
		return err
	}
	record := poolRecord{Version: registryVersion, PoolID: newPoolID(), PoolName: p.config.Name, BlockSectors: found.target.BlockSectors}
	klog.FromContext(ctx).Info("Taking over a thin pool", "pool", p.config.Name, "poolID", record.PoolID, "device", found.path)
	if found.status.TransactionID == transactionNone {
		if err := p.mark(ctx, transactionNone, transactionTaking); err != nil {
			return err
		}
	}
	reached(failTakeMarked)
	if err := p.deleteThin(ctx, registryThinID); err != nil {
		return err
	}
	if err := p.makeRegistryThin(ctx, record); err != nil {
		return err
	}
	reached(failTakeRegistry)
	return p.mark(ctx, transactionTaking, transactionTaken)
}

// mark sets the transaction id, durably.
func (p *Pool) mark(ctx context.Context, from, to uint64) error {
	if err := p.dm.SetTransactionID(ctx, p.device, from, to); err != nil {
		return p.messageFailure(ctx, err)
	}
	status, err := p.healthy(ctx)
	if err == nil && status.TransactionID != to {
		err = fmt.Errorf("%w: the transaction id is %d right after it was set to %d", ErrDeviceInUse, status.TransactionID, to)
	}
	return err
}

// checkRoom refuses a pool that cannot hold the registry and something beside it.
func (p *Pool) checkRoom(found handedPool) error {
	if found.status.Mode != devicemapper.PoolModeReadWrite || found.status.NeedsCheck {
		return fmt.Errorf("%w: %s: %s: %s", ErrPoolFailed, fieldThinPoolDevice, found.path, failureOf(found.status))
	}
	block := found.target.BlockSectors
	needs := roundUp(registryArea, block.Bytes()) + max(minimumData, minimumDataBlocks*block.Bytes())
	if size := found.status.TotalData.Sectors(block).Bytes(); size < needs {
		return &FieldError{Field: fieldThinPoolDevice, Value: fmt.Sprintf("%s with %d bytes", found.path, size),
			Allowed: fmt.Sprintf("at least %d bytes at a block size of %d", needs, block.Bytes())}
	}
	return nil
}

// checkUnused refuses a pool in which somebody else has anything.
func (p *Pool) checkUnused(ctx context.Context, found handedPool) error {
	inUse := func(why string) error {
		return fmt.Errorf("%w: %s: %s %s", ErrDeviceInUse, fieldThinPoolDevice, found.path, why)
	}
	info, err := p.dm.Info(ctx, found.Device)
	if err != nil {
		return err
	}
	if info.OpenCount > 0 {
		return inUse(fmt.Sprintf("is open (%d times): mounted, or below other devices", info.OpenCount))
	}
	if found.status.HeldMetadataRoot != 0 {
		return inUse("has a metadata snapshot that somebody holds")
	}
	thins, err := p.committedThins(ctx)
	if err != nil {
		return err
	}
	for _, thin := range thins {
		if thin.ThinID != registryThinID || found.status.TransactionID != transactionTaking {
			return inUse(fmt.Sprintf("holds %d thin devices that csi-dm did not make, one with id %d", len(thins), thin.ThinID))
		}
	}
	return nil
}

// committedThins reads what thin devices a pool holds in which nothing is going on. Not through a metadata snapshot: one
// that a crash leaves behind could be anybody's.
func (p *Pool) committedThins(ctx context.Context) (_ []thinmetadata.Details, err error) {
	if _, err := p.dm.Status(ctx, p.device, devicemapper.StatusOptions{Flush: true}); err != nil {
		return nil, err
	}
	device, err := thinmetadata.Open(p.metadataPath)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	superblock, err := device.ReadSuperblock(0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPoolDamaged, err)
	}
	details, err := device.Details(ctx, superblock)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPoolDamaged, err)
	}
	return details, nil
}
