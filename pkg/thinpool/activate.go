package thinpool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// Activate makes the volume's block device and gives its path (/dev/dm-N). Idempotent: a device that is there, with the
// right thin id and size, is given as it is. The path is good until Deactivate.
func (p *Pool) Activate(ctx context.Context, name string) (string, error) {
	if err := p.begin(); err != nil {
		return "", p.wrap("activate", name, err)
	}
	defer p.work.Done()
	path, err := p.activate(ctx, name)
	return path, p.wrap("activate", name, err)
}

func (p *Pool) activate(ctx context.Context, name string) (string, error) {
	v, unlock, err := p.lockVolume(ctx, name)
	if err != nil {
		return "", err
	}
	defer unlock()
	if v.state == volumeLost {
		return "", v.lost()
	}
	device, err := p.ensureThin(ctx, name, v.record)
	if errors.Is(err, devicemapper.ErrThinNotExist) {
		return "", fmt.Errorf("%w: %w", ErrPoolDamaged, err)
	}
	if err != nil {
		p.noteMetadata(ctx, err)
		// The kernel gives a failed pool no errno of its own here.
		_, failure := p.healthy(ctx)
		return "", errors.Join(err, failure)
	}
	p.noteDeferred(v.record.ThinID, false)
	return device.Path(), nil
}

// ensureThin gives a volume's device. One that is there may be shorter than its record, if a process died while it grew, or
// may just be going, if its removal was deferred.
func (p *Pool) ensureThin(ctx context.Context, name string, r volumeRecord) (device devicemapper.Device, err error) {
	deadline := time.Now().Add(busyTimeout)
	for grown, delay := false, time.Millisecond; ; delay *= 2 {
		p.reload.RLock()
		device, _, err = p.stack.ensure(ctx, p.label.PoolID.volumeName(name), p.label.PoolID.thinUUID(r.ThinID), p.thinTable(r.ThinID, r.Size))
		p.reload.RUnlock()
		if errors.Is(err, ErrSourceChanged) && !grown {
			if err := p.fitDevice(ctx, r); err != nil {
				return device, err
			}
			grown = true
			continue
		}
		if going := errors.Is(err, devicemapper.ErrBusy) || errors.Is(err, devicemapper.ErrNotExist) || errors.Is(err, errNameTaken); !going || time.Now().After(deadline) {
			return device, err
		}
		if err := p.breathe(ctx, delay); err != nil {
			return device, err
		}
	}
}

// Deactivate removes the volume's block device. Idempotent. An open device is ErrVolumeInUse, and the kernel removes it when
// it is closed, unless Activate comes first; [Status] counts those.
func (p *Pool) Deactivate(ctx context.Context, name string) error {
	if err := p.begin(); err != nil {
		return p.wrap("deactivate", name, err)
	}
	defer p.work.Done()
	v, unlock, err := p.lockVolume(ctx, name)
	if err == nil {
		err = p.deactivate(ctx, v)
		unlock()
	}
	return p.wrap("deactivate", name, err)
}

// lockVolume locks the name of a volume that exists.
func (p *Pool) lockVolume(ctx context.Context, name string) (*volume, func(), error) {
	if err := validateVolumeName(name); err != nil {
		return nil, nil, err
	}
	unlock, err := p.names.lock(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	p.mutex.Lock()
	v := p.volumes[name]
	found := v != nil && (v.state == volumeReady || v.state == volumeLost)
	p.mutex.Unlock()
	if !found {
		unlock()
		return nil, nil, ErrVolumeNotFound
	}
	return v, unlock, nil
}

// deactivate removes the device of the volume's thin id, whatever it is named.
func (p *Pool) deactivate(ctx context.Context, v *volume) error {
	return p.removeThin(ctx, v.record.ThinID)
}
