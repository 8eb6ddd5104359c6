package thinpool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// busyTimeout is how long Deactivate tries again on a device that is open: a prober looks for some milliseconds, a mount
// stays.
const busyTimeout = 500 * time.Millisecond

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
	thin := v.record.ThinID
	p.reload.RLock()
	device, _, err := p.stack.ensure(ctx, p.label.PoolID.volumeName(name), p.label.PoolID.thinUUID(thin), p.thinTable(thin, v.record.Size))
	p.reload.RUnlock()
	if errors.Is(err, devicemapper.ErrThinNotExist) {
		return "", fmt.Errorf("%w: %w", ErrPoolDamaged, err)
	}
	if err != nil {
		// The kernel gives a failed pool no errno of its own here.
		_, failure := p.healthy(ctx)
		return "", errors.Join(err, failure)
	}
	return device.Path(), nil
}

// Deactivate removes the volume's block device. Idempotent; an open device is ErrVolumeInUse.
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
	_, err := p.dm.Remove(ctx, p.label.PoolID.thinUUID(v.record.ThinID), devicemapper.RemoveOptions{BusyTimeout: busyTimeout})
	if errors.Is(err, devicemapper.ErrNotExist) {
		return nil
	}
	return deviceBusy(err)
}

func deviceBusy(err error) error {
	if errors.Is(err, devicemapper.ErrBusy) {
		return fmt.Errorf("%w: its device is open: %w", ErrVolumeInUse, err)
	}
	return err
}
