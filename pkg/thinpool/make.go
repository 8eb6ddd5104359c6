package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// makePool makes a pool on devices that are free for it, or makes one over that was never finished, and gives its lock. It
// may be cut at any point: as long as device 0's label says "creating", the next Open begins again, and what was not
// acknowledged is not missed. The label that says "ready" is the last thing written, behind everything else.
func makePool(ctx context.Context, dm *devicemapper.Client, config Config, devices sourceDevices, previous *label) (_ *poolLock, err error) {
	areas, err := devices.planFor(config)
	if err != nil {
		return nil, err
	}
	l := label{Version: labelVersion, PoolName: config.Name, State: stateCreating, BlockSectors: devicemapper.SectorsOf(config.BlockSize), Areas: areas, Generation: 1}
	for _, device := range devices {
		l.Devices = append(l.Devices, labelDevice{ID: randomID(), Sectors: devicemapper.SectorsOf(device.Size)})
	}
	var lock *poolLock
	if previous == nil {
		l.PoolID = newPoolID()
		lock, err = devices.makeTheirs(ctx, dm, config, l)
	} else {
		// Its identity stays, so that kernel devices that it had already are found, and removed.
		l.PoolID, l.Generation = previous.PoolID, previous.Generation+1
		lock, err = devices.makeOver(ctx, dm, config, l)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.giveUp(ctx))
		}
	}()
	reached(failMakeLabelled)
	if err := fill(ctx, dm, config, l, devices.numbers()); err != nil {
		return nil, err
	}
	l.State = stateReady
	l.Generation++
	return lock, devices.renewLabels(l, failMakeOneReady)
}

// makeTheirs gives the devices to a new pool. The lock is a kernel device of the pool and cannot be taken before the claim
// is released; the label says until then whose the devices are, and the lock looks at it again.
func (s sourceDevices) makeTheirs(ctx context.Context, dm *devicemapper.Client, config Config, l label) (*poolLock, error) {
	klog.FromContext(ctx).Info("Making a thin pool", "pool", config.Name, "poolID", l.PoolID, "devices", len(s))
	if err := s.claimAndLabel(ctx, s, config.Source.Force, l); err != nil {
		return nil, err
	}
	return stack{dm, l.PoolID}.lock(ctx, s)
}

// makeOver gives them to a pool again whose making was cut, once nobody is making it any more.
func (s sourceDevices) makeOver(ctx context.Context, dm *devicemapper.Client, config Config, l label) (_ *poolLock, err error) {
	parts := stack{dm, l.PoolID}
	lock, err := parts.lock(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.giveUp(ctx))
		}
	}()
	klog.FromContext(ctx).Info("Making a thin pool that was never finished", "pool", config.Name, "poolID", l.PoolID, "devices", len(s))
	if err := parts.removeParts(ctx); err != nil {
		return nil, err
	}
	return lock, s.claimAndLabel(ctx, s.unlabelled(), config.Source.Force, l)
}

// claimAndLabel claims some of the devices, and writes the label of all while they are claimed.
func (s sourceDevices) claimAndLabel(ctx context.Context, unlabelled sourceDevices, force []string, l label) error {
	claim, err := unlabelled.claim(ctx, force)
	if err != nil {
		return err
	}
	return errors.Join(s.writeLabels(l), claim.release())
}

// unlabelled are those devices that the cut came too early for to have got their label.
func (s sourceDevices) unlabelled() (blank sourceDevices) {
	for _, device := range s {
		if device.err != nil {
			blank = append(blank, device)
		}
	}
	return blank
}

// writeLabels writes the label of each device, device 0's first: it is the one that counts.
func (s sourceDevices) writeLabels(l label) error {
	for i := range s {
		if err := s.writeLabel(i, l); err != nil {
			return err
		}
	}
	return nil
}

// renewLabels writes the label of each device, device 0's last, with which the change is made. before is the failpoint in
// front of that.
func (s sourceDevices) renewLabels(l label, before failpoint) error {
	for i := range s[1:] {
		if err := s.writeLabel(i+1, l); err != nil {
			return err
		}
	}
	reached(before)
	return s.writeLabel(0, l)
}

func (s sourceDevices) writeLabel(i int, l label) error {
	l.Device = i
	if err := writeLabel(s[i].file, l); err != nil {
		return fmt.Errorf("%s: %w", s[i].Path, err)
	}
	s[i].label, s[i].err = l, nil
	return nil
}

// fill makes the registry and has the kernel format the metadata.
func fill(ctx context.Context, dm *devicemapper.Client, config Config, l label, numbers []devicemapper.DeviceNumber) (err error) {
	s := stack{dm, l.PoolID}
	var made parts
	defer func() {
		if err != nil {
			err = errors.Join(err, s.undo(ctx, made))
		}
	}()
	registry, err := s.ensurePart(ctx, partRegistry, l.table(areaRegistry, numbers), &made)
	if err != nil {
		return err
	}
	if err := formatRegistry(ctx, registry.Path()); err != nil {
		return err
	}
	reached(failMakeRegistryEmpty)
	if err := makeRegistry(registry.Path(), poolRecord{Version: registryVersion, PoolID: l.PoolID, BlockSectors: l.BlockSectors}); err != nil {
		return err
	}
	reached(failMakeRegistry)
	metadata, err := s.ensurePart(ctx, partMetadata, l.table(areaMetadata, numbers), &made)
	if err != nil {
		return err
	}
	if err := clearSuperblock(metadata.Path()); err != nil {
		return err
	}
	reached(failMakeCleared)
	data, err := s.ensurePart(ctx, partData, l.table(areaData, numbers), &made)
	if err != nil {
		return err
	}
	length := l.table(areaData, numbers).Length()
	table := poolTable(metadata.Number, data.Number, length, l.BlockSectors, policyOf(config, length, l.BlockSectors))
	pool, err := s.ensurePart(ctx, partPool, table, &made)
	if err != nil {
		return err
	}
	// With a flush: what the kernel formatted is on disk before the label says so.
	if _, err := dm.Status(ctx, pool, devicemapper.StatusOptions{Flush: true}); err != nil {
		return err
	}
	reached(failMakePool)
	status, err := dm.ThinPoolStatus(ctx, pool)
	if err == nil && !status.Healthy() {
		err = fmt.Errorf("%w: a new pool is in mode %s", ErrPoolFailed, status.Mode)
	}
	return err
}

// clearSuperblock makes the kernel take the metadata area for a new pool's.
func clearSuperblock(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if _, err := file.WriteAt(make([]byte, 64<<10), 0); err != nil {
		return fmt.Errorf("clear metadata: %w", err)
	}
	return file.Sync()
}
