package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
)

// clearNeedsCheck has thin_check look once more and take the kernel's demand back.
func (m *maintenance) clearNeedsCheck(ctx context.Context, part string, kind areaKind) error {
	device, err := m.alias(ctx, part, kind)
	if err != nil {
		return err
	}
	status, said, err := runTool(ctx, "thin_check", "--clear-needs-check-flag", "--", device.Path())
	if err == nil && status != 0 {
		err = fmt.Errorf("%w: thin_check: %s", ErrPoolDamaged, said)
	}
	return errors.Join(err, flush(device.Path()))
}

// rebuildMetadata writes what can be read of the metadata to the spare area and has the two exchange their places. Until
// the label is written nothing has happened: the spare's contents matter to nobody.
func (m *maintenance) rebuildMetadata(ctx context.Context, found findings) (err error) {
	damaged, release, err := m.damagedMetadata(ctx, found)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	spare, err := m.alias(ctx, partRepairSpare, areaSpare)
	if err != nil {
		return err
	}
	if err := clearSuperblock(spare.Path()); err != nil {
		return err
	}
	reached(failRepairSpareCleared)
	status, said, err := runTool(ctx, "thin_repair", "-i", damaged.Path(), "-o", spare.Path())
	if err == nil && status != 0 {
		err = fmt.Errorf("%w: thin_repair: %s", ErrPoolDamaged, said)
	}
	if err != nil {
		return err
	}
	reached(failRepairSpareWritten)
	if err := m.finishSpare(ctx, spare, found.metadata); err != nil {
		return err
	}
	reached(failRepairSpareChecked)
	if err := m.retireBases(found.registry); err != nil {
		return err
	}
	reached(failRepairBasesRetired)
	if err := m.exchange(); err != nil {
		return err
	}
	reached(failRepairExchanged)
	// The devices map the areas by their old names.
	return m.stack.removeRepairParts(ctx)
}

// damagedMetadata makes the device that thin_repair reads.
func (m *maintenance) damagedMetadata(ctx context.Context, found findings) (devicemapper.Device, func() error, error) {
	if found.metadata.rootsLost() {
		return m.withRoots(ctx, found)
	}
	device, err := m.alias(ctx, partRepairMetadata, areaMetadata)
	return device, func() error { return nil }, err
}

// finishSpare checks what thin_repair has written and makes its superblock right.
func (m *maintenance) finishSpare(ctx context.Context, spare devicemapper.Device, found metadataFindings) error {
	if err := m.raiseTime(ctx, spare.Path(), found); err != nil {
		return err
	}
	if err := m.clearNeedsCheck(ctx, partRepairSpare, areaSpare); err != nil {
		return err
	}
	written, err := examineMetadataOn(ctx, spare.Path())
	if err != nil {
		return err
	}
	if written.damage != "" || devicemapper.Sectors(written.superblock.DataBlockSize) != m.label.BlockSectors {
		return fmt.Errorf("%w: the metadata that thin_repair wrote is not sound, blocks of %d sectors: %s; nothing was changed", ErrPoolDamaged, written.superblock.DataBlockSize, written.damage)
	}
	return flush(spare.Path())
}

// raiseTime sets the spare's time to the highest that was ever seen. thin_repair, where it has no superblock, knows the
// mappings' times only. With a time that falls behind a device's, the next snapshot would look older than what it shares,
// and writes would go into blocks that others share.
func (m *maintenance) raiseTime(ctx context.Context, path string, found metadataFindings) (err error) {
	device, err := thinmetadata.Open(path)
	if err != nil {
		return err
	}
	superblock, err := device.ReadSuperblock(0)
	var details []thinmetadata.Details
	if err == nil {
		details, err = device.Details(ctx, superblock)
	}
	if err = errors.Join(err, device.Close()); err != nil {
		return fmt.Errorf("%w: what thin_repair wrote cannot be read: %w; nothing was changed", ErrPoolDamaged, err)
	}
	time := max(superblock.Time, found.superblock.Time)
	for _, d := range details {
		time = max(time, d.CreationTime, d.SnapshotTime)
	}
	if time == superblock.Time {
		return nil
	}
	return thinmetadata.SetTime(path, time)
}

// retireBases turns each base in the registry into one that is to be deleted, which the next Open does. Bases are made
// again when they are needed; a damaged one would not be noticed.
func (m *maintenance) retireBases(contents *registryContents) (err error) {
	if contents == nil {
		return nil // nobody can read it, and a pool without its registry does not open
	}
	mount, err := mountRegistry(m.registryPath)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mount.close()) }()
	size, err := registrySize(mount)
	if err != nil {
		return err
	}
	db, contents, err := loadRegistry(mount, size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.Update(func(tx *bbolt.Tx) error {
		number := uint64(0)
		for n := range contents.intents {
			number = max(number, n)
		}
		for i, base := range contents.bases {
			number++
			intent := intentRecord{Kind: intentDeleteBase, Base: &contents.bases[i]}
			if err := tx.Bucket([]byte(bucketIntents)).Put(intentKey(number), encodeRecord(intent)); err != nil {
				return err
			}
			if err := tx.Bucket([]byte(bucketBases)).Delete(thinIDKey(base.ThinID)); err != nil {
				return err
			}
		}
		return nil
	})
}

// exchange makes the spare the metadata and the metadata the spare, by one durable write of the label that counts.
func (m *maintenance) exchange() error {
	l := m.label
	l.Areas = make([]area, len(m.label.Areas))
	for i, a := range m.label.Areas {
		switch a.Kind {
		case areaMetadata:
			a.Kind = areaSpare
		case areaSpare:
			a.Kind = areaMetadata
		}
		l.Areas[i] = a
	}
	for _, device := range m.devices {
		l.Generation = max(l.Generation, device.label.Generation)
	}
	l.Generation++
	if err := m.devices.renewLabels(l, failRepairLabels); err != nil {
		return err
	}
	m.label = l
	return nil
}

// flush makes what was written to a device durable.
func flush(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
