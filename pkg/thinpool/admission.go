package thinpool

import (
	"context"
	"errors"
	"fmt"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/headroom"
)

// snapshotBudget is how many create_snap calls a pool has in its life: the kernel counts them in 32 bits and keeps 24 of
// them with each mapping; behind that, reads return other blocks' data.
const snapshotBudget = 1<<24 - 1

// LowSnapshotBudget is what of a pool's snapshots is to be warned of, when only so many are left.
const LowSnapshotBudget = snapshotBudget / 8

// spareSnapshots of the budget are not given out: the count on disk may lag behind by what a crash has lost.
const spareSnapshots = 1 << 10

// fits says whether a volume fits, as the cluster's capacity is computed too, so that who placed a volume by the published
// capacity is not refused for another reason. The mutex must be held.
func (p *Pool) fits(status devicemapper.ThinPoolStatus, record volumeRecord) error {
	if err := p.admitting(status); err != nil {
		return err
	}
	// What is not a snapshot of a volume can be made by formatting.
	if record.Source != "" {
		if err := p.budget(); err != nil {
			return err
		}
	}
	return p.hasRoom(status, record.Size)
}

// hasRoom says whether so many bytes more can be promised. The mutex must be held.
func (p *Pool) hasRoom(status devicemapper.ThinPoolStatus, size int64) error {
	if err := p.admitting(status); err != nil {
		return err
	}
	if room := headroom.Of(p.headroomPool(status, true)); size > room.LargestVolume {
		return fmt.Errorf("%w: %d bytes were asked for, %d can be promised", ErrNoSpace, size, room.LargestVolume)
	}
	return nil
}

// budget is ErrSnapshotBudget when no further snapshot can be made.
func (p *Pool) budget() error {
	if p.snapshotsLeft() <= 0 {
		return fmt.Errorf("%w: all %d were made", ErrSnapshotBudget, snapshotBudget-spareSnapshots)
	}
	return nil
}

// countSnapshot counts a create_snap call before it is made. Whoever was admitted when others were may find the spare ones
// used up, too; beyond them none is ever made.
func (p *Pool) countSnapshot() error {
	if made := p.snapshots.Add(1); made > snapshotBudget {
		p.snapshots.Add(-1)
		return fmt.Errorf("%w: all %d were made", ErrSnapshotBudget, snapshotBudget)
	}
	return nil
}

func (p *Pool) snapshotsLeft() int64 {
	return max(0, snapshotBudget-spareSnapshots-p.snapshots.Load())
}

// headroomPool is the pool as package headroom takes it. The mutex must be held.
func (p *Pool) headroomPool(status devicemapper.ThinPoolStatus, admitting bool) headroom.Pool {
	block := p.label.BlockSectors
	return headroom.Pool{
		DataTotal: status.TotalData.Sectors(block).Bytes(), DataUsed: status.UsedData.Sectors(block).Bytes(),
		BaseBytes: p.baseBytes, PendingBytes: p.pendingBytes(), MinFreePercent: p.config.MinFreePercent, OverprovisionMilli: p.config.OverprovisionMilli,
		Promised: p.promised, Admitting: admitting, BlockSize: block.Bytes(),
	}
}

// admitting says why the pool takes no new volume at all, if it does not. The mutex must be held.
func (p *Pool) admitting(status devicemapper.ThinPoolStatus) error {
	if !status.Healthy() {
		return fmt.Errorf("%w: %s", ErrPoolFailed, failureOf(status))
	}
	if p.metadataFault != "" {
		return fmt.Errorf("%w: %s", ErrPoolFailed, p.metadataFaultText())
	}
	if p.probing.fault != "" {
		return fmt.Errorf("%w: %s", ErrPoolFailed, p.probing.fault)
	}
	if p.unfit != nil {
		return p.unfit
	}
	if p.nextThinID >= registryThinID {
		return fmt.Errorf("%w: all %d were used", ErrThinIDs, registryThinID)
	}
	if status.Mode == devicemapper.PoolModeOutOfDataSpace || status.FreeData() == 0 {
		return fmt.Errorf("%w: no data block is free", ErrPoolFull)
	}
	if status.FreeMetadata() == 0 {
		return fmt.Errorf("%w: no metadata block is free", ErrPoolFull)
	}
	percent := uint64(p.config.MinFreePercent)
	if free, total := p.freeData(status), uint64(status.TotalData); free < uint64(status.FreeData()) && free*100 <= total*percent {
		return fmt.Errorf("%w: %s, %d%% of the pool must stay free", ErrBelowMinFree, p.below.describe(p.paths[0]), percent)
	}
	if free, total := uint64(status.FreeData()), uint64(status.TotalData); free*100 <= total*percent {
		return fmt.Errorf("%w: %d of %d data blocks are free, %d%% must stay so", ErrBelowMinFree, free, total, percent)
	}
	if free, total := uint64(status.FreeMetadata()), uint64(usableMetadata(status)); free*100 <= total*percent {
		return fmt.Errorf("%w: %d of %d metadata blocks are free, %d%% must stay so", ErrBelowMinFree, free, total, percent)
	}
	return nil
}

// metadataReserve is what the kernel keeps back of the metadata for repairs: a tenth, at most 16 MiB
// (__set_metadata_reserve in drivers/md/dm-thin-metadata.c).
func metadataReserve(total devicemapper.MetadataBlocks) devicemapper.MetadataBlocks {
	return min(total/10, 4096)
}

// admitBase says whether a base may be made: it is the first volume's need, and that one is judged right after.
func (p *Pool) admitBase(ctx context.Context) error {
	err := p.admitBaseOnce(ctx)
	if errors.Is(err, ErrNoSpace) && p.giveUpBases(ctx) {
		return p.admitBaseOnce(ctx)
	}
	return err
}

func (p *Pool) admitBaseOnce(ctx context.Context) error {
	if err := p.registry.committer.room(); err != nil {
		return err
	}
	status, err := p.healthy(ctx)
	if err != nil {
		return err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.admitting(status)
}
