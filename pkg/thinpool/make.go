package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// makePool makes a pool on devices that are free for it, or makes one over that was never finished. It may be cut at any
// point: as long as device 0's label says "creating", the next Open begins again, and what was not acknowledged is not
// missed. The label that says "ready" is the last thing written, behind everything else.
func makePool(ctx context.Context, dm *devicemapper.Client, config Config, devices sourceDevices, previous *label) error {
	logger := klog.FromContext(ctx)
	areas, err := devices.planFor(config)
	if err != nil {
		return err
	}
	l := label{Version: labelVersion, PoolName: config.Name, State: stateCreating, BlockSectors: devicemapper.SectorsOf(config.BlockSize), Areas: areas, Generation: 1}
	if previous == nil {
		l.PoolID = newPoolID()
		if err := devices.claim(ctx, config.Source.Force); err != nil {
			return err
		}
	} else {
		// Its identity stays, so that kernel devices that it had already are found, and removed.
		l.PoolID, l.Generation = previous.PoolID, previous.Generation+1
		if err := (stack{dm, l.PoolID}).removeParts(ctx); err != nil {
			return err
		}
		if err := devices.claimUnlabelled(ctx, config.Source.Force); err != nil {
			return err
		}
	}
	for _, device := range devices {
		l.Devices = append(l.Devices, labelDevice{ID: randomID(), Sectors: devicemapper.SectorsOf(device.Size)})
	}
	logger.Info("Making a thin pool", "pool", config.Name, "poolID", l.PoolID, "devices", len(devices))
	if err := devices.writeLabels(l); err != nil {
		return err
	}
	reached(failMakeLabelled)
	if err := fill(ctx, dm, config, l, devices.numbers()); err != nil {
		return err
	}
	l.State = stateReady
	l.Generation++
	if err := devices.renewLabels(l, failMakeOneReady); err != nil {
		return err
	}
	return nil
}

// claimUnlabelled claims those devices that the cut came too early for to have got their label.
func (s sourceDevices) claimUnlabelled(ctx context.Context, force []string) error {
	var blank sourceDevices
	for _, device := range s {
		if device.err != nil {
			blank = append(blank, device)
		}
	}
	return blank.claim(ctx, force)
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
