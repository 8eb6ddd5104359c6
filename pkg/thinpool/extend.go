package thinpool

import (
	"context"
	"errors"
	"fmt"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// extend makes the kernel's devices as long as the label says. Each step leaves all of them in use as they were, or longer,
// so it may be cut anywhere and be done again: metadata and data first, which the pool does not look at until its own table
// is loaded anew. Then it takes in both with one commit.
func (p *Pool) extend(ctx context.Context, config Config) error {
	p.growth.behind = true
	for _, part := range []struct {
		name string
		kind areaKind
		done failpoint
	}{{partMetadata, areaMetadata, failPoolMetadata}, {partData, areaData, failPoolData}} {
		if _, err := p.stack.adopt(ctx, p.stack.id.partName(part.name), p.stack.id.partUUID(part.name), p.label.table(part.kind, p.growth.numbers)); err != nil {
			return fmt.Errorf("extend %s: %w", part.name, err)
		}
		reached(part.done)
	}
	if err := p.applyPolicy(ctx, policyOf(config, p.dataLength(), p.label.BlockSectors)); err != nil {
		return err
	}
	p.growth.behind = false
	reached(failPoolDone)
	return nil
}

// swap puts a table in force in place of the one that a device has. I/O is held back for a moment. If it fails, the device
// goes on with the table that it had. suspended is the failpoint at which I/O is held back.
func (s stack) swap(ctx context.Context, device devicemapper.Ref, table, old devicemapper.Table, suspended failpoint) error {
	if err := s.dm.Load(ctx, device, table, devicemapper.LoadOptions{}); err != nil {
		return err
	}
	// No file system lies on these devices, and what is queued on a full pool need not drain.
	if err := s.dm.Suspend(ctx, device, devicemapper.SuspendOptions{SkipLockFS: true, NoFlush: true}); err != nil {
		return errors.Join(err, s.dm.Clear(ctx, device))
	}
	reached(suspended)
	// Whatever happens now, the device must not stay suspended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	err := s.dm.Resume(ctx, device)
	if err != nil {
		// The new table may be in force already.
		err = errors.Join(err, s.dm.Load(ctx, device, old, devicemapper.LoadOptions{}), s.dm.Resume(ctx, device))
	}
	return err
}

// poolGrows tells whether the kernel's pool is shorter than the label and could grow.
func (p *Pool) poolGrows(ctx context.Context, table devicemapper.Table) (bool, error) {
	status, err := p.dm.ThinPoolStatus(ctx, p.device)
	if err != nil || growable(status) != nil {
		return false, err
	}
	return p.handed == nil && (table[0].Length < p.dataLength() || status.TotalMetadata.Bytes() < p.label.size(areaMetadata)), nil
}

// shorter tells whether the kernel's pool has less data than the label says.
func (p *Pool) shorter(ctx context.Context) bool {
	table, err := p.dm.Table(ctx, p.device, devicemapper.TableOptions{})
	return err == nil && table[0].Length < p.dataLength()
}

// growable is why the kernel would not make a pool longer. One that is read-only because its metadata is full it would.
func growable(status devicemapper.ThinPoolStatus) error {
	if status.NeedsCheck || !status.Healthy() && status.Mode != devicemapper.PoolModeReadOnly {
		return fmt.Errorf("%w: %s", ErrPoolFailed, failureOf(status))
	}
	return nil
}

// checkGrown checks that the kernel has taken in all that the label says, and is well.
func (p *Pool) checkGrown(ctx context.Context) error {
	status, err := p.healthy(ctx)
	if err != nil {
		return err
	}
	if data, metadata := status.TotalData.Sectors(p.label.BlockSectors), status.TotalMetadata.Bytes(); data != p.dataLength() || metadata != p.label.size(areaMetadata) {
		return fmt.Errorf("the kernel's pool has %d bytes of data and %d of metadata instead of %d and %d", data.Bytes(), metadata, p.label.size(areaData), p.label.size(areaMetadata))
	}
	return nil
}

// extends tells whether want maps all that have maps, each sector to the same place. Both consist of linear segments; one
// of have may have become part of a longer one.
func extends(want, have devicemapper.Table) bool {
	for _, old := range have {
		if !mapsSegment(want, old) {
			return false
		}
	}
	return true
}

func mapsSegment(table devicemapper.Table, old devicemapper.Segment) bool {
	to, linear := old.Target.(devicemapper.Linear)
	if !linear {
		return false
	}
	for _, s := range table {
		if old.Start >= s.Start && old.Start+old.Length <= s.Start+s.Length {
			at, linear := s.Target.(devicemapper.Linear)
			return linear && at.Device == to.Device && at.OffsetSectors+(old.Start-s.Start) == to.OffsetSectors
		}
	}
	return false
}
