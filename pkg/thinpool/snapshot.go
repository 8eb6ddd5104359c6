package thinpool

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

const (
	// snapshotTimeout bounds the making of a volume from a source. What takes time is writing out what its file system
	// holds in memory, which is done before its I/O is held back.
	snapshotTimeout = 5 * time.Minute
	// snapshotAttempts is how often a snapshot is tried while the pool's state changes under it.
	snapshotAttempts = 5
)

// errPoolMoved: the pool raised an event between the writing out of the source and its snapshot.
var errPoolMoved = errors.New("the pool's state changed meanwhile")

// normalizedSource checks a spec with a source and gives it with its size in whole blocks.
func (s VolumeSpec) normalizedSource(blockSize int64) (VolumeSpec, error) {
	if err := validateVolumeName(s.Source); err != nil || s.Source == s.Name {
		return s, &FieldError{Field: "source", Value: s.Source, Allowed: "the name of another volume of the pool"}
	}
	if largest := largestVolume(blockSize); s.Size < 0 || s.Size > largest {
		return s, &FieldError{Field: "size", Value: strconv.FormatInt(s.Size, 10), Allowed: fmt.Sprintf("0 (the source's size) to %d bytes", largest)}
	}
	if len(s.Format.Options) > 0 {
		return s, &FieldError{Field: "mkfs-options", Value: fmt.Sprint(s.Format.Options), Allowed: "nothing with a source, which is formatted"}
	}
	if s.Format.Type != "" {
		if _, err := filesystem.ParseType(string(s.Format.Type)); err != nil {
			return s, &FieldError{Field: "fsType", Value: string(s.Format.Type), Allowed: fmt.Sprint(filesystem.Types)}
		}
	}
	s.Size = roundUp(s.Size, blockSize)
	return s, nil
}

// recordFrom is the record of a volume that is to begin as its source is now.
func (p *Pool) recordFrom(spec VolumeSpec) (volumeRecord, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	source := p.volumes[spec.Source]
	switch {
	case source == nil, source.state == volumeCreating:
		return volumeRecord{}, fmt.Errorf("%w: %s", ErrSourceNotFound, spec.Source)
	case source.state == volumeDeleting:
		return volumeRecord{}, fmt.Errorf("%w: %s is being deleted", ErrSourceNotFound, spec.Source)
	case source.state == volumeLost:
		return volumeRecord{}, fmt.Errorf("source %s: %w", spec.Source, source.lost())
	case spec.Format.Type != "" && spec.Format.Type != source.record.Format.Type:
		return volumeRecord{}, &FieldError{Field: "fsType", Value: string(spec.Format.Type), Allowed: fmt.Sprintf("that of the source %s, %q", spec.Source, source.record.Format.Type)}
	}
	record := volumeRecord{Size: spec.Size, Format: source.record.Format, Source: spec.Source}
	if record.Size == 0 {
		record.Size = source.record.Size
	}
	return record, record.covers(source.record)
}

// covers refuses a volume that would not hold all of its source.
func (r volumeRecord) covers(source volumeRecord) error {
	if r.Size < source.Size {
		return &FieldError{Field: "size", Value: strconv.FormatInt(r.Size, 10), Allowed: fmt.Sprintf("at least the %d bytes of the source %s", source.Size, r.Source)}
	}
	return nil
}

// snapshotVolume makes a thin device that begins as a volume is now. Nobody activates, grows or deletes the source meanwhile.
func (p *Pool) snapshotVolume(ctx context.Context, thin devicemapper.ThinID, record volumeRecord) (outcome, error) {
	source, unlock, err := p.lockVolume(ctx, record.Source)
	if errors.Is(err, ErrVolumeNotFound) {
		return outcome{}, fmt.Errorf("%w: %s", ErrSourceNotFound, record.Source)
	}
	if err != nil {
		return outcome{}, err
	}
	defer unlock()
	if source.state == volumeLost {
		return outcome{}, fmt.Errorf("source %s: %w", record.Source, source.lost())
	}
	if err := record.covers(source.record); err != nil {
		return outcome{}, err
	}
	origin := devicemapper.ThinID(source.record.ThinID)
	for attempt := 1; ; attempt++ {
		device, err := p.dm.Info(ctx, p.label.PoolID.thinUUID(source.record.ThinID))
		switch {
		case errors.Is(err, devicemapper.ErrNotExist), err == nil && !device.LiveTable:
			if _, err := p.writable(ctx); err != nil {
				return outcome{}, err
			}
			return p.snapshotInactive(ctx, thin, origin)
		case err != nil:
			return outcome{}, err
		}
		o, err := p.snapshotActive(ctx, device.Device, thin, origin)
		// A device whose removal was deferred may have gone meanwhile; then it is inactive.
		gone := errors.Is(err, devicemapper.ErrNotExist)
		if o.made || !gone && !errors.Is(err, errPoolMoved) || attempt == snapshotAttempts {
			return o, err
		}
	}
}

// snapshotActive makes a snapshot of a device that is in use. Nothing that its owner believes written may be missing in it,
// and a full pool lets suspend, create_snap and resume all succeed after the file system's writing out has failed. So first
// that is done with its errors looked at, before the I/O is held back, which also keeps that short. Then the pool must be
// writable and must have raised no event in between, which a pool that ran full does, even if it has recovered since. That is
// known before the thin device is made: one that exists is good, for recovery too.
func (p *Pool) snapshotActive(ctx context.Context, device devicemapper.Device, thin, origin devicemapper.ThinID) (o outcome, err error) {
	before, err := p.writable(ctx)
	if err != nil {
		return outcome{}, err
	}
	reached(failSnapshotWritable)
	if err := p.writeOut(ctx, device); err != nil {
		return outcome{}, err
	}
	reached(failSnapshotWritten)
	if o, err = p.snapshotHeld(ctx, device, before, thin, origin); err != nil {
		return o, err
	}
	klog.FromContext(ctx).V(4).Info("Took a snapshot of an active device", "pool", p.label.PoolName, "device", device.Name, "thinID", thin, "held", o.held)
	// A disk that failed between writing out and freezing tells whoever syncs next.
	return o, p.writeOut(ctx, device)
}

// snapshotHeld makes a snapshot while the origin's I/O is held back, unless the pool has raised an event since the one before.
func (p *Pool) snapshotHeld(ctx context.Context, device devicemapper.Device, before uint32, thin, origin devicemapper.ThinID) (o outcome, err error) {
	// A pool that is suspended for a change of its table lets the thin device's own suspend wait.
	p.reload.RLock()
	defer p.reload.RUnlock()
	o.held, err = p.hold(ctx, device, func() error {
		reached(failSnapshotHeld)
		after, err := p.writable(ctx)
		if err == nil && after != before {
			err = errPoolMoved
		}
		if err != nil {
			return err
		}
		if err := p.createSnapshot(ctx, thin, origin); err != nil {
			return err
		}
		o.made = true
		reached(failSnapshotMade)
		return nil
	})
	reached(failSnapshotResumed)
	if errors.Is(err, errFreeze) {
		// The file system could not be brought to a state that needs no recovery.
		_, state := p.writable(ctx)
		err = errors.Join(fmt.Errorf("%w: %w", ErrSyncFailed, err), state)
	}
	return o, err
}

// writeOut brings what the kernel holds in memory for a device to it, and says so if some of it was lost.
func (p *Pool) writeOut(ctx context.Context, device devicemapper.Device) error {
	err := filesystem.Sync(device.Path())
	if errors.Is(err, filesystem.ErrSync) {
		_, state := p.writable(ctx)
		return errors.Join(fmt.Errorf("%w: %w", ErrSyncFailed, err), state)
	}
	return err
}

// writable returns the number of the pool's last event if it takes data and metadata, or says why it does not.
func (p *Pool) writable(ctx context.Context) (event uint32, err error) {
	info, err := p.dm.Info(ctx, p.device)
	if err != nil {
		return 0, err
	}
	status, err := p.healthy(ctx)
	if err == nil && status.Mode != devicemapper.PoolModeReadWrite {
		err = fmt.Errorf("%w: the kernel holds the pool in mode %q", ErrPoolFull, status.Mode)
	}
	return info.EventNumber, err
}

// snapshotInactive makes a snapshot of a thin device that is not active and that the caller keeps so.
func (p *Pool) snapshotInactive(ctx context.Context, thin, origin devicemapper.ThinID) (outcome, error) {
	p.reload.RLock()
	defer p.reload.RUnlock()
	err := p.messages.send(ctx, func() error { return p.createSnapshot(ctx, thin, origin) })
	return outcome{made: err == nil}, err
}

func (p *Pool) createSnapshot(ctx context.Context, thin, origin devicemapper.ThinID) error {
	if err := p.countSnapshot(); err != nil {
		return err
	}
	err := p.dm.CreateSnapshot(ctx, p.device, thin, origin)
	if errors.Is(err, devicemapper.ErrThinNotExist) {
		return fmt.Errorf("%w: %w", ErrPoolDamaged, err)
	}
	return err
}
