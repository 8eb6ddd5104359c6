package thinpool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// CreateVolume makes a volume as a snapshot of its base, which it makes first where there is none. It is durable when it
// returns. Idempotent by name: the same spec again gives the same volume, also when it has been grown since; another spec
// ErrVolumeExists. A spec without a file system gives an empty volume that reads as zeros.
//
// A spec with a source gives a volume that begins with what the source holds at a moment during the call: all that was
// written to it before, by a file system that is mounted as well, and if that cannot be said for sure, an error
// (ErrPoolFull, ErrSyncFailed). The source's I/O waits while the kernel makes the snapshot. Once begun it is done to its end,
// even if ctx ends first.
//
// On an error the volume does not exist for its owner, and a repetition finishes or begins anew.
func (p *Pool) CreateVolume(ctx context.Context, spec VolumeSpec) (Volume, error) {
	if err := p.begin(); err != nil {
		return Volume{}, p.wrap("create", spec.Name, err)
	}
	defer p.work.Done()
	v, err := p.createVolume(ctx, spec)
	return v, p.wrap("create", spec.Name, err)
}

func (p *Pool) createVolume(ctx context.Context, spec VolumeSpec) (Volume, error) {
	spec, err := spec.normalized(p.label.BlockSectors.Bytes())
	if err != nil {
		return Volume{}, err
	}
	unlock, err := p.names.lock(ctx, spec.Name)
	if err != nil {
		return Volume{}, err
	}
	if spec.Source == "" {
		defer unlock()
		return p.createLocked(ctx, spec)
	}
	return uninterrupted(ctx, &p.work, snapshotTimeout, func(ctx context.Context) (Volume, error) {
		defer unlock()
		return p.createLocked(ctx, spec)
	})
}

// createLocked is createVolume with the name's lock held.
func (p *Pool) createLocked(ctx context.Context, spec VolumeSpec) (Volume, error) {
	v, err := p.settle(ctx, spec.Name)
	if err != nil {
		return Volume{}, err
	}
	var held time.Duration
	if v == nil {
		if v, held, err = p.newVolume(ctx, spec); err != nil {
			return Volume{}, err
		}
	}
	if !v.record.answers(spec) {
		return Volume{}, fmt.Errorf("%w: it has %d bytes, the format %v, the source %q and the owner %q", ErrVolumeExists,
			v.record.Size, v.record.Format, v.record.Source, v.record.Owner)
	}
	if v.state == volumeLost {
		return Volume{}, v.lost()
	}
	made := v.public(spec.Name)
	made.SourceHeld = held
	return made, nil
}

// answers tells whether a volume is what a spec asks for, as it was when it was made.
func (r volumeRecord) answers(spec VolumeSpec) bool {
	size := r.CreatedSize
	if size == 0 {
		size = r.Size
	}
	if r.Owner != spec.Owner {
		return false
	}
	if spec.Source != "" {
		return r.Source == spec.Source && (spec.Size == 0 || spec.Size == size) && (spec.Format.Type == "" || spec.Format.Type == r.Format.Type)
	}
	return r.Source == "" && spec.Size == size && r.Format.equal(recordOf(spec.Format))
}

func (v *volume) lost() error {
	return fmt.Errorf("%w: the pool's metadata holds no thin device %d", ErrPoolDamaged, v.record.ThinID)
}

// settle gives the volume of that name, or nil. What an earlier call has begun and could not finish is finished or undone
// first. The name's lock must be held.
func (p *Pool) settle(ctx context.Context, name string) (*volume, error) {
	p.mutex.Lock()
	v := p.volumes[name]
	p.mutex.Unlock()
	switch {
	case v == nil, v.state == volumeReady, v.state == volumeLost:
		return v, nil
	case v.state == volumeDeleting:
		// Commits keep their order: when this one is durable, so is the intent, whoever waited for that.
		if err := p.registry.committer.commit(ctx, 0); err != nil {
			return nil, err
		}
		p.leaveDeletion(p.deleted(name, v))
		return nil, nil
	}
	return nil, p.undoCreate(ctx, name, v)
}

// planVolume says what a new volume's record is and how its thin device comes to be; release is to be called when it is there.
func (p *Pool) planVolume(ctx context.Context, spec VolumeSpec) (record volumeRecord, do act, release func(), err error) {
	release = func() {}
	record = volumeRecord{Size: spec.Size, Format: recordOf(spec.Format)}
	switch {
	case spec.Source != "":
		record, err = p.recordFrom(spec)
		do = func(ctx context.Context, thin devicemapper.ThinID) (outcome, error) {
			return p.snapshotVolume(ctx, thin, record)
		}
	case record.Format.Type != "":
		var origin *base
		if origin, err = p.baseFor(ctx, record.Format, spec.Size); err != nil {
			break
		}
		release = func() { p.releaseBase(origin) }
		do = func(ctx context.Context, thin devicemapper.ThinID) (outcome, error) {
			return p.snapshotInactive(ctx, thin, devicemapper.ThinID(origin.record.ThinID))
		}
	default:
		do = p.createEmpty
	}
	record.Owner, record.Created = spec.Owner, time.Now().UTC()
	return record, do, release, err
}

// newVolume makes a volume: intent, act, result.
func (p *Pool) newVolume(ctx context.Context, spec VolumeSpec) (*volume, time.Duration, error) {
	if spec.Source == "" && spec.Format.Type != "" && p.budget() != nil {
		v, err := p.newFormatted(ctx, spec)
		return v, 0, err
	}
	record, do, release, err := p.planVolume(ctx, spec)
	if err != nil {
		return nil, 0, err
	}
	defer release()
	v, err := p.admit(ctx, spec.Name, record)
	if err != nil {
		return nil, 0, err
	}
	thin, o, err := p.newThin(ctx, v.intent, func(thin uint32) intentRecord {
		intended := record
		intended.ThinID = thin
		return intentRecord{Kind: intentCreateVolume, Name: spec.Name, Volume: &intended}
	}, func(ctx context.Context, thin devicemapper.ThinID) (outcome, error) {
		reached(failCreateIntent)
		return do(ctx, thin)
	})
	p.mutex.Lock()
	v.record.ThinID, v.thinMade = thin, o.made
	p.mutex.Unlock()
	if err == nil {
		p.messages.awaitDrained()
		_, err = p.healthy(ctx)
	}
	if err != nil {
		return nil, 0, errors.Join(err, p.undoCreate(ctx, spec.Name, v))
	}
	reached(failCreateThin)
	// Result.
	p.registry.committer.ride(
		write{bucketVolumes, []byte(spec.Name), encodeRecord(v.record)},
		write{bucketIntents, intentKey(v.intent), nil},
	)
	reached(failCreateDone)
	p.mutex.Lock()
	v.state, v.intent = volumeReady, 0
	p.mutex.Unlock()
	return v, o.held, nil
}

// admit reserves space, a name and an intent's number, all at one moment, or says why it does not.
func (p *Pool) admit(ctx context.Context, name string, record volumeRecord) (*volume, error) {
	v, err := p.admitOnce(ctx, name, record)
	if errors.Is(err, ErrNoSpace) && p.giveUpBases(ctx) {
		v, err = p.admitOnce(ctx, name, record)
	}
	return v, err
}

func (p *Pool) admitOnce(ctx context.Context, name string, record volumeRecord) (*volume, error) {
	if err := p.registry.committer.room(); err != nil {
		return nil, err
	}
	if err := p.lookAtTable(ctx); err != nil {
		return nil, err
	}
	status, err := p.healthy(ctx)
	if err != nil {
		return nil, err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if err := p.fits(status, record); err != nil {
		return nil, err
	}
	v := &volume{state: volumeCreating, record: record, intent: p.intentNumber()}
	p.volumes[name] = v
	p.promised += record.Size
	return v, nil
}

// undoCreate takes a creation back that failed, or whose outcome is not known. If it cannot now, the volume stays in the
// state "creating", and the next call for its name, or the next Open, tries again.
func (p *Pool) undoCreate(ctx context.Context, name string, v *volume) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if v.grouped {
		// Recovery was put off, and the intent is that of others as well.
		return fmt.Errorf("%w: whether the group that %s is in was made is decided when the pool is opened writable", ErrPoolFailed, name)
	}
	if v.thinMade {
		if err := p.deleteThin(ctx, v.record.ThinID); err != nil {
			return fmt.Errorf("undo: %w", err)
		}
	}
	p.registry.committer.ride(write{bucketIntents, intentKey(v.intent), nil})
	p.forget(name, v)
	return nil
}

// forget drops a volume from memory and gives its promise back.
func (p *Pool) forget(name string, v *volume) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(p.volumes, name)
	p.promised -= v.record.Size
}
