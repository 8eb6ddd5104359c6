package thinpool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// The devices of a check or a repair, beside the pool's own: each maps the same sectors as that, so that a program can open
// it exclusively while the kernel's pool has the other, and so that what a cut repair leaves is no device of an open pool.
const (
	partRepairMetadata = "repair-metadata"
	partRepairSpare    = "repair-spare"
)

// maintenance is a pool that is not open, held for a check or a repair.
type maintenance struct {
	label   label
	stack   stack
	devices sourceDevices
	lock    *poolLock
	made    parts // of the pool's own devices, those that were not there before

	registryPath string // of the registry's device, once it was examined
}

// beginMaintenance takes the pool of a configuration. The caller must call end.
func beginMaintenance(ctx context.Context, dm *devicemapper.Client, config Config) (_ *maintenance, err error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	if device := config.Source.ThinPoolDevice; device != "" {
		return nil, fmt.Errorf("%w: %s; of a pool that LVM made: lvconvert --repair", ErrNotOwned, device)
	}
	if loop := config.Source.Loopback; loop != nil {
		// Open makes the file where there is none.
		if _, err := os.Lstat(loop.Path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %w", ErrDeviceNotFound, err)
		}
	}
	devices, err := openSource(ctx, config.Source)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, devices.close())
		}
	}()
	verdict, _, err := devices.match(config)
	if err != nil {
		return nil, err
	}
	if verdict != verdictReopen {
		return nil, fmt.Errorf("%w: there is no pool on the devices, or one that was never finished", ErrPoolDamaged)
	}
	// Devices that the source names already, and the pool does not have yet, stay out of it.
	members := devices.members()
	if err := devices[len(members):].close(); err != nil {
		return nil, err
	}
	devices = members
	m := &maintenance{label: devices[0].label, stack: stack{dm, devices[0].label.PoolID}, devices: devices}
	if m.lock, err = m.stack.lock(ctx, devices); err != nil {
		return nil, err
	}
	// A repair that was cut has left them.
	if err := m.stack.removeRepairParts(ctx); err != nil {
		return nil, errors.Join(err, m.lock.giveUp(ctx))
	}
	return m, nil
}

// end lets go of the pool and leaves the kernel's devices as they were found.
func (m *maintenance) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	return errors.Join(m.stack.removeRepairParts(ctx), m.stack.undo(ctx, m.made), m.lock.giveUp(ctx), m.devices.close())
}

// removeRepairParts removes the devices of a check or a repair.
func (s stack) removeRepairParts(ctx context.Context) error {
	return errors.Join(s.remove(ctx, s.id.partUUID(partRepairMetadata)), s.remove(ctx, s.id.partUUID(partRepairSpare)))
}

// alias makes the repair's device on an area of a kind. end removes it.
func (m *maintenance) alias(ctx context.Context, part string, kind areaKind) (devicemapper.Device, error) {
	var unused parts
	return m.stack.ensurePart(ctx, part, m.label.table(kind, m.devices.numbers()), &unused)
}
