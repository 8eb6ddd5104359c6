package thinpool

import (
	"context"
	"errors"
	"fmt"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// TrimStep has a part of a volume's file system discard what it does not use. path is the volume's block device, which nobody removes
// meanwhile. It says whether there is nothing left to do. Its duration bounds how long a call for the volume, and the pool's
// other work of this kind, wait.
type TrimStep func(ctx context.Context, path string) (done bool, err error)

// Trim calls step until it is done, each time when it is the volume's turn: between two steps as much time passes as the first one
// took, and none is made while blocks of something else are given back. It says how much of the pool's data came back, in bytes,
// also with an error; what was written to the volume meanwhile is taken off.
//
// A discard on a pool that passes discards down must not free a block that another volume was sharing a moment ago, see ownExtents,
// and a file system knows nothing of that. There a volume that is a snapshot, or of which one was ever made, is ErrTrimShared.
//
// ErrTrimBusy: the pool has something else to do, or is not well. ErrVolumeInactive: the volume has no device.
func (p *Pool) Trim(ctx context.Context, name string, step TrimStep) (freed int64, err error) {
	if err := p.begin(); err != nil {
		return 0, p.wrap("trim", name, err)
	}
	defer p.work.Done()
	freed, err = p.trim(ctx, name, step)
	return freed, p.wrap("trim", name, err)
}

func (p *Pool) trim(ctx context.Context, name string, step TrimStep) (freed int64, err error) {
	p.mutex.Lock()
	v, next := p.volumes[name], p.nextThinID
	if v == nil {
		p.mutex.Unlock()
		return 0, ErrVolumeNotFound
	}
	record := v.record
	p.mutex.Unlock()
	if _, _, err := p.activeThin(ctx, record.ThinID); err != nil {
		return 0, err
	}
	status, err := p.mayTrim(ctx)
	if err != nil {
		return 0, err
	}
	if status.Discards == devicemapper.DiscardPassdown {
		if err := p.neverShared(ctx, record); err != nil {
			return 0, err
		}
	}
	for done := false; !done; {
		var back int64
		back, done, err = p.trimOnce(ctx, name, next, step)
		freed += back
		if err != nil {
			return freed, err
		}
	}
	return freed, nil
}

// mayTrim says whether the pool has time for a trim. A pool that is full does: discards are what it waits for. One whose metadata is
// at its end does not, as the removal of mappings can take some.
func (p *Pool) mayTrim(ctx context.Context) (devicemapper.ThinPoolStatus, error) {
	status, err := p.healthy(ctx)
	if err != nil {
		return status, fmt.Errorf("%w: %w", ErrTrimBusy, err)
	}
	if status.Discards == devicemapper.DiscardIgnore {
		return status, fmt.Errorf("%w: it takes no discards", ErrTrimBusy)
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if pending := len(p.deletions); pending > 0 {
		return status, fmt.Errorf("%w: the blocks of %d deleted volumes are being given back", ErrTrimBusy, pending)
	}
	if space := p.nextSpace(status).metadata; space.severity() >= SpaceCritical.severity() {
		return status, fmt.Errorf("%w: its metadata space is %s", ErrTrimBusy, space)
	}
	return status, nil
}

// neverShared refuses a volume that may share blocks with another one: those of its base are shared with the base as well, which is
// never written to. The kernel keeps when a thin device took part in a snapshot last, be it as the origin.
func (p *Pool) neverShared(ctx context.Context, record volumeRecord) error {
	if record.Source != "" {
		return fmt.Errorf("%w: it was made of %s", ErrTrimShared, record.Source)
	}
	return p.withMetadata(ctx, func(held heldMetadata) error {
		details, err := held.Details(ctx, held.superblock)
		if err != nil {
			return err
		}
		for _, d := range details {
			if d.ThinID == record.ThinID && d.SnapshotTime != d.CreationTime {
				return fmt.Errorf("%w: snapshots were made of it", ErrTrimShared)
			}
		}
		return nil
	})
}

// trimOnce makes a step, when it is its turn, while nobody activates, snapshots or deletes the volume. The volume's lock comes before
// the turn, as it does for who deletes it.
func (p *Pool) trimOnce(ctx context.Context, name string, next uint32, step TrimStep) (freed int64, done bool, err error) {
	v, unlock, err := p.lockVolume(ctx, name)
	if err != nil {
		return 0, false, err
	}
	defer unlock()
	var refused error
	_, err = p.pace.do(ctx, func() error {
		freed, done, refused = p.trimLocked(ctx, v.record.ThinID, next, step)
		return nil
	})
	return freed, done, errors.Join(err, refused)
}

// trimLocked makes a step. No volume made from another one may have come since the thin id next was free: it could be this volume's
// snapshot.
func (p *Pool) trimLocked(ctx context.Context, thin, next uint32, step TrimStep) (freed int64, done bool, err error) {
	status, err := p.mayTrim(ctx)
	if err != nil {
		return 0, false, err
	}
	if status.Discards == devicemapper.DiscardPassdown && p.snapshotSince(next) {
		return 0, false, fmt.Errorf("%w: a snapshot was made meanwhile", ErrTrimShared)
	}
	device, before, err := p.activeThin(ctx, thin)
	if err != nil {
		return 0, false, err
	}
	done, stepErr := step(ctx, device.Path())
	_, after, err := p.activeThin(ctx, thin)
	if err == nil && after.State == devicemapper.ThinStateOK && before.State == devicemapper.ThinStateOK && before.MappedSectors > after.MappedSectors {
		freed = (before.MappedSectors - after.MappedSectors).Bytes()
	}
	return freed, done, errors.Join(stepErr, err)
}

// snapshotSince tells whether a volume was made from another one, whatever became of it, since a thin id was the next.
func (p *Pool) snapshotSince(next uint32) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, v := range p.volumes {
		if v.record.Source != "" && v.record.ThinID >= next {
			return true
		}
	}
	return false
}

// activeThin gives the device of a thin id and what it maps, or ErrVolumeInactive.
func (p *Pool) activeThin(ctx context.Context, thin uint32) (devicemapper.Device, devicemapper.ThinStatus, error) {
	uuid := p.label.PoolID.thinUUID(thin)
	info, err := p.dm.Info(ctx, uuid)
	if errors.Is(err, devicemapper.ErrNotExist) || err == nil && !info.LiveTable {
		return devicemapper.Device{}, devicemapper.ThinStatus{}, ErrVolumeInactive
	}
	if err != nil {
		return devicemapper.Device{}, devicemapper.ThinStatus{}, err
	}
	status, err := p.thinStatus(ctx, uuid, thin)
	return info.Device, status, err
}
