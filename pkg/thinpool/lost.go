package thinpool

import (
	"context"
	"errors"
	"slices"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// LostVolumes gives the names of the volumes whose thin device the pool does not hold any more, in order. [Pool.Volume] does not
// find them.
func (p *Pool) LostVolumes() []string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	var names []string
	for name, v := range p.volumes {
		if v.state == volumeLost {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// ActiveDevice gives the path of the volume's block device (/dev/dm-N), or nothing if it has none now. It makes none and waits
// for nothing: by the time that the caller looks at it, the device may have gone. Errors: ErrVolumeNotFound.
func (p *Pool) ActiveDevice(ctx context.Context, name string) (string, error) {
	if err := p.begin(); err != nil {
		return "", p.wrap("look up", name, err)
	}
	defer p.work.Done()
	v, err := p.Volume(name)
	if err != nil {
		return "", err
	}
	device, err := p.dm.Info(ctx, p.label.PoolID.thinUUID(v.ThinID))
	if errors.Is(err, devicemapper.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", p.wrap("look up", name, err)
	}
	return device.Path(), nil
}
