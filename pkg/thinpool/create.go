package thinpool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// CreateVolume makes a volume as a snapshot of its base, which it makes first where there is none. It is durable when it
// returns. Idempotent by name: the same spec again gives the same volume, another spec ErrVolumeExists. A spec without a
// file system gives an empty volume that reads as zeros.
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
	defer unlock()
	v, err := p.settle(ctx, spec.Name)
	if err != nil {
		return Volume{}, err
	}
	if v == nil {
		if v, err = p.newVolume(ctx, spec); err != nil {
			return Volume{}, err
		}
	}
	if v.record.Size != spec.Size || !v.record.Format.equal(recordOf(spec.Format)) {
		return Volume{}, fmt.Errorf("%w: it has %d bytes and the format %v", ErrVolumeExists, v.record.Size, v.record.Format)
	}
	if v.state == volumeLost {
		return Volume{}, v.lost()
	}
	return v.public(spec.Name), nil
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
		return nil, p.finishDelete(ctx, name, v)
	}
	return nil, p.undoCreate(ctx, name, v)
}

// newVolume makes a volume: intent, act, result.
func (p *Pool) newVolume(ctx context.Context, spec VolumeSpec) (*volume, error) {
	format := recordOf(spec.Format)
	var origin *base
	if format.Type != "" {
		var err error
		if origin, err = p.acquireBase(ctx, format, spec.Size); err != nil {
			return nil, err
		}
		defer p.releaseBase(origin)
	}
	v, next, err := p.admit(ctx, spec)
	if err != nil {
		return nil, err
	}
	// Intent.
	err = p.registry.committer.commit(ctx, next, write{bucketIntents, intentKey(v.intent), encodeRecord(intentRecord{Kind: intentCreateVolume, Name: spec.Name, Volume: &v.record})})
	if err != nil {
		return nil, errors.Join(err, p.undoCreate(ctx, spec.Name, v))
	}
	reached(failCreateIntent)
	// Act.
	thin := devicemapper.ThinID(v.record.ThinID)
	p.reload.RLock()
	if origin != nil {
		p.snapshots.Add(1)
		err = p.dm.CreateSnapshot(ctx, p.device, thin, devicemapper.ThinID(origin.record.ThinID))
	} else {
		err = p.dm.CreateThin(ctx, p.device, thin)
	}
	p.reload.RUnlock()
	if errors.Is(err, devicemapper.ErrThinExist) {
		// Not ours, so not ours to delete.
		p.registry.committer.ride(write{bucketIntents, intentKey(v.intent), nil})
		p.forget(spec.Name, v)
		return nil, fmt.Errorf("%w: thin id %d is taken by a device that the registry does not know: %w", ErrPoolDamaged, thin, err)
	}
	if err == nil {
		_, err = p.healthy(ctx)
	}
	if err != nil {
		return nil, errors.Join(p.messageFailure(err), p.undoCreate(ctx, spec.Name, v))
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
	return v, nil
}

// admit reserves space, a name, a thin id and an intent's number, all at one moment, or says why it does not.
func (p *Pool) admit(ctx context.Context, spec VolumeSpec) (v *volume, next uint32, err error) {
	if err := p.registry.committer.room(); err != nil {
		return nil, 0, err
	}
	status, err := p.healthy(ctx)
	if err != nil {
		return nil, 0, err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if err := p.fits(status, spec); err != nil {
		return nil, 0, err
	}
	v = &volume{state: volumeCreating, record: volumeRecord{Size: spec.Size, Format: recordOf(spec.Format), Created: time.Now().UTC()}}
	if v.record.ThinID, err = p.takeThinID(); err != nil {
		return nil, 0, err
	}
	v.intent = p.intentNumber()
	p.volumes[spec.Name] = v
	p.promised += spec.Size
	return v, p.nextThinID, nil
}

// undoCreate takes a creation back that failed, or whose outcome is not known. If it cannot now, the volume stays in the
// state "creating", and the next call for its name, or the next Open, tries again.
func (p *Pool) undoCreate(ctx context.Context, name string, v *volume) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := p.deleteThin(ctx, v.record.ThinID); err != nil {
		return fmt.Errorf("undo: %w", err)
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
