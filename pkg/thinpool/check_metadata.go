package thinpool

import (
	"context"
	"errors"
	"fmt"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
)

// noThinID is no thin device's: looking for its mappings is reading the upper of the two levels of trees.
const noThinID = uint32(devicemapper.MaxThinID) + 1

// metadataFindings is what is known of a pool's metadata. damage is empty where it is sound.
type metadataFindings struct {
	damage     string
	superblock thinmetadata.Superblock
	details    []thinmetadata.Details
	// Why superblock and details could not be read; both are damage.
	superblockErr, detailsErr error
	// Whether the tree of mappings could be read down to the roots of the thin devices' own trees.
	mappingsReadable bool
}

// rootsLost tells whether superblock or roots are lost, so that nobody knows where the trees begin.
func (f metadataFindings) rootsLost() bool {
	return f.superblockErr != nil || f.detailsErr != nil || !f.mappingsReadable
}

// examineMetadata examines metadata that nobody writes: of a pool that is not active, or that the kernel holds read-only.
func (m *maintenance) examineMetadata(ctx context.Context) (metadataFindings, error) {
	device, err := m.alias(ctx, partRepairMetadata, areaMetadata)
	if err != nil {
		return metadataFindings{}, err
	}
	f, err := examineMetadataOn(ctx, device.Path())
	if err == nil && f.damage == "" && devicemapper.Sectors(f.superblock.DataBlockSize) != m.label.BlockSectors {
		f.damage = fmt.Sprintf("the metadata is of a pool with blocks of %d sectors, the label's has %d", f.superblock.DataBlockSize, m.label.BlockSectors)
	}
	return f, err
}

// examineActive examines the metadata of a pool that is active and that no process has open, as it was committed last.
func (m *maintenance) examineActive(ctx context.Context, pool devicemapper.Device) (f metadataFindings, err error) {
	dm := m.stack.dm
	metadata, err := dm.Info(ctx, m.stack.id.partUUID(partMetadata))
	if err != nil {
		return f, err
	}
	if err := refuseTornSnapshot(metadata.Path()); err != nil {
		return f, err
	}
	// One that was left is its process's that died.
	if err := dm.ReleaseMetadataSnapshot(ctx, pool); err != nil && !errors.Is(err, devicemapper.ErrNoMetadataSnapshot) {
		return f, fmt.Errorf("release a metadata snapshot that was left: %w", err)
	}
	if err := dm.ReserveMetadataSnapshot(ctx, pool); err != nil {
		return f, err
	}
	defer func() {
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		err = errors.Join(err, dm.ReleaseMetadataSnapshot(release, pool))
	}()
	status, err := dm.ThinPoolStatus(ctx, pool)
	if err != nil {
		return f, err
	}
	device, err := thinmetadata.Open(metadata.Path())
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	f.superblock, f.superblockErr = device.ReadSuperblock(uint64(status.HeldMetadataRoot))
	return f, f.examine(ctx, device, "--metadata-snap", "--", metadata.Path())
}

// examineMetadataOn examines metadata that nobody writes, on a device that nobody has.
func examineMetadataOn(ctx context.Context, path string) (f metadataFindings, err error) {
	device, err := thinmetadata.Open(path)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	f.superblock, f.superblockErr = device.ReadSuperblock(0)
	return f, f.examine(ctx, device, "--", path)
}

// examine reads what the superblock leads to, and runs thin_check.
func (f *metadataFindings) examine(ctx context.Context, device *thinmetadata.Device, arguments ...string) error {
	if f.superblockErr == nil {
		f.details, f.detailsErr = device.Details(ctx, f.superblock)
		for _, err := range device.Mappings(ctx, f.superblock, noThinID) {
			f.mappingsReadable = errors.Is(err, thinmetadata.ErrNoThin)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	status, said, err := runTool(ctx, "thin_check", arguments...)
	switch {
	case err != nil:
		return err
	case status != 0:
		f.damage = said
		if said == "" {
			f.damage = fmt.Sprintf("thin_check ended with status %d", status)
		}
	default:
		// What this package cannot read is as bad: Open would refuse it.
		if err := errors.Join(f.superblockErr, f.detailsErr); err != nil {
			f.damage = err.Error()
		}
	}
	return nil
}
