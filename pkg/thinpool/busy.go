package thinpool

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// busyTimeout is how long the removal of a device that is open is tried again: a prober looks for some milliseconds, a mount
// stays.
const busyTimeout = 500 * time.Millisecond

// removeThin removes the device of a thin id, if there is one. One that stays open is ErrVolumeInUse, and the kernel removes
// it when the last one closes it (a deferred removal, which Activate takes back).
func (p *Pool) removeThin(ctx context.Context, thin uint32) error {
	deferred, err := p.dm.Remove(ctx, p.label.PoolID.thinUUID(thin), devicemapper.RemoveOptions{BusyTimeout: busyTimeout, Deferred: true})
	if errors.Is(err, devicemapper.ErrNotExist) {
		err = nil
	}
	if err == nil {
		p.noteDeferred(thin, deferred)
	}
	if deferred {
		return fmt.Errorf("%w: its device is open; it is removed when it is closed", ErrVolumeInUse)
	}
	return deviceBusy(err)
}

func deviceBusy(err error) error {
	if errors.Is(err, devicemapper.ErrBusy) {
		return fmt.Errorf("%w: its device is open: %w", ErrVolumeInUse, err)
	}
	return err
}

func (p *Pool) noteDeferred(thin uint32, deferred bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if deferred {
		p.deferred[thin] = struct{}{}
	} else {
		delete(p.deferred, thin)
	}
}

// deferredRemovals counts the devices that the kernel is to remove when they are closed. The kernel tells nobody when that
// has happened, so it is asked about each.
func (p *Pool) deferredRemovals(ctx context.Context) int {
	p.mutex.Lock()
	thins := make([]uint32, 0, len(p.deferred))
	for thin := range p.deferred {
		thins = append(thins, thin)
	}
	p.mutex.Unlock()
	count := 0
	for _, thin := range thins {
		info, err := p.dm.Info(ctx, p.label.PoolID.thinUUID(thin))
		if errors.Is(err, devicemapper.ErrNotExist) || err == nil && !info.DeferredRemove {
			p.noteDeferred(thin, false)
			continue
		}
		count++
	}
	return count
}

// abandon decides about the deletion of a volume whose device is open, err being what its removal said. A device whose file
// system is mounted where this process sees it is in use, and the volume stays. One that only a stranger holds, such as
// another mount namespace to which a mount has leaked, or a process that has the device open, does not keep the volume from
// being deleted: its blocks are given back once the stranger lets go. A volume without a file system is in use where it is open.
func (p *Pool) abandon(ctx context.Context, v *volume, err error) error {
	if !errors.Is(err, ErrVolumeInUse) || v.record.Format.Type == "" {
		return err
	}
	device, infoErr := p.dm.Info(ctx, p.label.PoolID.thinUUID(v.record.ThinID))
	if errors.Is(infoErr, devicemapper.ErrNotExist) {
		return nil
	}
	if infoErr != nil {
		return errors.Join(err, infoErr)
	}
	mounted, mountErr := filesystem.Mounted(device.Path())
	if mounted || mountErr != nil {
		return errors.Join(err, mountErr)
	}
	klog.FromContext(ctx).Info("Deleting a volume whose device somebody else has open", "pool", p.label.PoolName, "device", device.Name, "openCount", device.OpenCount)
	return nil
}

// removeDeleted removes the device of a thin device that is deleted. While somebody has it open it gets a name of the
// engine's own, so that another volume can have the volume's.
func (p *Pool) removeDeleted(ctx context.Context, thin uint32) error {
	err := p.removeThin(ctx, thin)
	if !errors.Is(err, ErrVolumeInUse) {
		return err
	}
	uuid, name := p.label.PoolID.thinUUID(thin), p.label.PoolID.baseName(thin)
	info, infoErr := p.dm.Info(ctx, uuid)
	if infoErr == nil && info.Name != name {
		infoErr = p.dm.Rename(ctx, info.Name, name)
	}
	if errors.Is(infoErr, devicemapper.ErrNotExist) {
		return p.removeThin(ctx, thin) // closed in between
	}
	return errors.Join(err, infoErr)
}

// thinOf reads the thin id in the uuid of a device of the pool's.
func (id poolID) thinOf(uuid devicemapper.UUID) (uint32, bool) {
	text, ok := strings.CutPrefix(string(uuid), id.thinUUIDPrefix())
	thin, err := strconv.ParseUint(text, 10, 32)
	return uint32(thin), ok && err == nil
}
