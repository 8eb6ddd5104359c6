package thinpool

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"
)

// DeleteVolume deactivates the volume, deletes its thin device and forgets its name. A volume that does not exist is
// success; one whose device is open is ErrVolumeInUse.
//
// From the moment the intent is durable the volume is gone for good: Volume no longer finds it, and if the pool cannot
// delete the thin device now, the error says so and a repetition, or the next Open, finishes.
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
		return err
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
	return p.finishDelete(ctx, name, v)
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

// finishDelete deletes the thin device of a volume whose deletion is durable. The name's lock must be held.
func (p *Pool) finishDelete(ctx context.Context, name string, v *volume) error {
	if err := p.giveBack(ctx, v.record.ThinID, v.record.Size); err != nil {
		return err
	}
	reached(failDeleteThin)
	p.registry.committer.ride(write{bucketVolumes, []byte(name), nil}, write{bucketIntents, intentKey(v.intent), nil})
	p.forget(name, v)
	reached(failDeleteDone)
	return nil
}

// giveBack deletes a thin device of size bytes and with it the blocks that it shares with none, which are discarded first
// where the pool passes discards down. A device below that fails to discard does not keep the blocks from the pool.
func (p *Pool) giveBack(ctx context.Context, thin uint32, size int64) error {
	if err := p.stack.remove(ctx, p.label.PoolID.thinUUID(thin)); err != nil {
		return deviceBusy(err)
	}
	if err := p.discard(ctx, thin, size); err != nil {
		if ctx.Err() != nil {
			return err
		}
		klog.FromContext(ctx).Error(err, "Discarding the blocks of a deleted thin device failed", "pool", p.label.PoolName, "thinID", thin)
	}
	return p.deleteThin(ctx, thin)
}
