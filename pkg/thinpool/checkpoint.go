package thinpool

import (
	"context"
	"errors"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// Checkpoint has the file system of an active volume write everything out, its log too, by freezing it for a moment in which
// the volume's I/O waits. An xfs that was grown while it is mounted needs that: until its superblock is on disk with the new
// size, which else takes half a minute, kernels before 6.13 cannot replay a log that names the new space, and a power cut would
// cost the volume. A volume that is not active has nothing to write out. Once begun it is done to its end, even if ctx ends.
func (p *Pool) Checkpoint(ctx context.Context, name string) error {
	if err := p.begin(); err != nil {
		return p.wrap("checkpoint", name, err)
	}
	defer p.work.Done()
	return p.wrap("checkpoint", name, p.checkpoint(ctx, name))
}

func (p *Pool) checkpoint(ctx context.Context, name string) error {
	v, unlock, err := p.lockVolume(ctx, name)
	if err != nil {
		return err
	}
	_, err = uninterrupted(ctx, &p.work, snapshotTimeout, func(ctx context.Context) (struct{}, error) {
		defer unlock()
		info, err := p.dm.Info(ctx, p.label.PoolID.thinUUID(v.record.ThinID))
		if errors.Is(err, devicemapper.ErrNotExist) || err == nil && !info.LiveTable {
			return struct{}{}, nil
		}
		if err == nil {
			err = p.writeOut(ctx, info.Device)
		}
		if err == nil {
			p.reload.RLock()
			defer p.reload.RUnlock()
			_, err = p.hold(ctx, info.Device, func() error { return nil })
		}
		return struct{}{}, err
	})
	return err
}
