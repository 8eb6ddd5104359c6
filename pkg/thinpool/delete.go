package thinpool

import (
	"context"
	"fmt"
)

// DeleteVolume deactivates the volume, deletes its thin device and forgets its name. A volume that does not exist is
// success; one whose file system is mounted, or that has none and whose device is open, is ErrVolumeInUse. A device with a file
// system that only somebody else has open, as a mount that has leaked into another mount namespace does, does not keep the
// volume from being deleted: its blocks follow when it is closed.
//
// It returns when the deletion is durable: from then on the volume is gone for good, and its name is free. A volume of up
// to 1,024 mapped blocks has been given back to the pool by then, unless the pool takes no messages now. The blocks of a
// larger one follow in the background, in slices with pauses between, so that no other volume's I/O stalls; so does what
// a crash, [Pool.Close] or a pool that has failed interrupted. [Status] counts what is pending.
func (p *Pool) DeleteVolume(ctx context.Context, name string) error {
	if err := p.begin(); err != nil {
		return p.wrap("delete", name, err)
	}
	defer p.work.Done()
	return p.wrap("delete", name, p.deleteVolume(ctx, name))
}

func (p *Pool) deleteVolume(ctx context.Context, name string) error {
	if err := validateVolumeName(name); err != nil {
		return err
	}
	unlock, err := p.names.lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	v, err := p.settle(ctx, name)
	if err != nil || v == nil {
		return err
	}
	if err := p.deactivate(ctx, v); err != nil {
		if err := p.abandon(ctx, v, err); err != nil {
			return err
		}
	}
	reached(failDeleteInactive)
	p.mutex.Lock()
	v.intent = p.intentNumber()
	before := v.state
	v.state = volumeDeleting
	p.mutex.Unlock()
	err = p.registry.committer.commit(ctx, 0,
		write{bucketIntents, intentKey(v.intent), encodeRecord(intentRecord{Kind: intentDeleteVolume, Name: name, Volume: &v.record})},
		write{bucketVolumes, []byte(name), nil},
	)
	if err != nil {
		return p.keep(ctx, name, v, before, err)
	}
	reached(failDeleteIntent)
	p.giveBackNow(ctx, p.deleted(name, v))
	return nil
}

// keep takes a deletion back whose intent could not be written. If it may have been written after all, because the caller
// left or the disk failed, the volume stays "deleting" and the next call decides.
func (p *Pool) keep(ctx context.Context, name string, v *volume, before volumeState, err error) error {
	if ctx.Err() == nil && p.registry.committer.broken() == nil {
		p.mutex.Lock()
		v.state, v.intent = before, 0
		p.mutex.Unlock()
	}
	return fmt.Errorf("record the deletion of %s: %w", name, err)
}

// deleted makes a volume whose deletion is durable a deletion, which the caller goes on with.
func (p *Pool) deleted(name string, v *volume) *deletion {
	d := &deletion{thin: v.record.ThinID, size: v.record.Size, intent: v.intent, volume: name, taken: true}
	p.addDeletion(d)
	p.forget(name, v)
	return d
}

// giveBackNow gives a small thin device's blocks back at once, and leaves to the goroutine what is large or does not work
// out.
func (p *Pool) giveBackNow(ctx context.Context, d *deletion) {
	if err := p.giveBack(ctx, d, true); err != nil {
		reached(failDeleteLeft)
		p.leaveDeletion(d)
		return
	}
	p.endDeletion(d)
}
