package thinpool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
)

// CheckReport is what a check of a pool has found. Empty texts and lists are good.
type CheckReport struct {
	Pool   string `json:"pool"`
	PoolID string `json:"poolID"`
	// The kernel has the pool active; what was examined is its last commit. Mode is empty when it is not active.
	Active bool `json:"active"`
	Mode   Mode `json:"mode,omitempty"`
	// The kernel demands a check of the metadata before it writes again.
	NeedsCheck bool `json:"needsCheck"`
	// What is wrong with the pool's metadata, in thin_check's words or this package's.
	MetadataDamage string `json:"metadataDamage,omitempty"`
	// What is wrong with the file system that the registry lies on, and with the registry itself.
	FileSystemDamage string `json:"fileSystemDamage,omitempty"`
	RegistryDamage   string `json:"registryDamage,omitempty"`
	// Volumes in the registry, 0 where it cannot be read.
	Volumes int `json:"volumes"`
	// Volumes whose thin device the pool does not hold. Nothing is said of them while the metadata is damaged.
	Lost []LostVolume `json:"lost,omitempty"`
	// Ids of thin devices that the registry does not know.
	UnknownThinIDs []uint32 `json:"unknownThinIDs,omitempty"`
}

// LostVolume is a volume that the registry knows and the pool does not hold.
type LostVolume struct {
	Name   string `json:"name"`
	ThinID uint32 `json:"thinID"`
	Size   int64  `json:"size"` // bytes
}

// RepairAction is a step of a repair that changes something, for an admin to agree to.
type RepairAction string

const (
	// ActionFileSystem is e2fsck of the registry's file system, with all that it proposes.
	ActionFileSystem RepairAction = "repair-registry-file-system"
	// ActionNeedsCheck takes the kernel's demand for a check back, since the metadata is sound.
	ActionNeedsCheck RepairAction = "clear-needs-check"
	// ActionMetadata writes what can be read of the metadata to the spare area, which then takes its place.
	ActionMetadata RepairAction = "rebuild-metadata"
)

// Actions are what Repair would do, in this order.
func (r CheckReport) Actions() []RepairAction {
	var actions []RepairAction
	if r.FileSystemDamage != "" {
		actions = append(actions, ActionFileSystem)
	}
	switch {
	case r.MetadataDamage != "":
		actions = append(actions, ActionMetadata)
	case r.NeedsCheck:
		actions = append(actions, ActionNeedsCheck)
	}
	return actions
}

// Sound tells whether nothing was found.
func (r CheckReport) Sound() bool {
	return !r.NeedsCheck && r.MetadataDamage == "" && r.FileSystemDamage == "" && r.RegistryDamage == "" && len(r.Lost) == 0 && len(r.UnknownThinIDs) == 0
}

// Check examines the pool of a configuration that is not open: its metadata with thin_check, its registry and the file
// system of that, and whether registry and metadata name the same thin devices. A pool that the kernel still has, of a
// process that is gone, is examined without touching its volumes. Nothing is changed but what every Open does: the journals of
// the registry and of its file system are replayed.
//
// Of the configuration only Name, Source and BlockSize matter. Damage is in the report; an error says that it could not be
// examined: ErrDeviceInUse while another process has the pool open, ErrNotOwned where the pool is somebody else's
// (Source.ThinPoolDevice), and Open's for devices that do not carry the pool.
func Check(ctx context.Context, dm *devicemapper.Client, config Config) (_ CheckReport, err error) {
	m, err := beginMaintenance(ctx, dm, config)
	if err != nil {
		return CheckReport{}, &Error{Op: "check", Pool: config.Name, Err: err}
	}
	f, err := m.examine(ctx)
	if err = errors.Join(err, m.end(ctx)); err != nil {
		err = &Error{Op: "check", Pool: config.Name, Err: err}
	}
	return f.report, err
}

// findings are a report and what it was made from.
type findings struct {
	report   CheckReport
	metadata metadataFindings
	registry *registryContents // nil: not readable
}

func (m *maintenance) examine(ctx context.Context) (f findings, err error) {
	f.report = CheckReport{Pool: m.label.PoolName, PoolID: string(m.label.PoolID)}
	var pool devicemapper.ThinPoolStatus
	info, err := m.stack.dm.Info(ctx, m.stack.id.partUUID(partPool))
	switch {
	case err == nil:
		if pool, err = m.stack.dm.ThinPoolStatus(ctx, info.Device); err != nil {
			return f, err
		}
		f.report.Active, f.report.Mode = true, modes[pool.Mode]
	case !errors.Is(err, devicemapper.ErrNotExist):
		return f, err
	}
	if f.report.Active && pool.Healthy() {
		f.metadata, err = m.examineActive(ctx, info.Device)
	} else {
		f.metadata, err = m.examineMetadata(ctx)
	}
	if err != nil {
		return f, err
	}
	f.report.MetadataDamage, f.report.NeedsCheck = f.metadata.damage, f.metadata.superblock.NeedsCheck || pool.NeedsCheck
	registry, err := m.examineRegistry(ctx)
	if err != nil {
		return f, err
	}
	f.report.FileSystemDamage, f.report.RegistryDamage, f.registry = registry.fileSystemDamage, registry.damage, registry.contents
	if f.registry != nil {
		f.report.Volumes = len(f.registry.volumes)
		if f.metadata.damage == "" {
			f.report.Lost, f.report.UnknownThinIDs = f.registry.compare(f.metadata.details)
		}
	}
	return f, nil
}

// compare compares the registry with the pool's thin devices. What an intent is about may be there or not.
func (c *registryContents) compare(details []thinmetadata.Details) (lost []LostVolume, unknown []uint32) {
	thins, known := map[uint32]bool{}, map[uint32]bool{}
	for _, d := range details {
		thins[d.ThinID] = true
	}
	for _, r := range c.intents {
		for _, id := range r.thinIDs() {
			known[id] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.volumes)) {
		r := c.volumes[name].record
		if !thins[r.ThinID] && !known[r.ThinID] {
			lost = append(lost, LostVolume{Name: name, ThinID: r.ThinID, Size: r.Size})
		}
		known[r.ThinID] = true
	}
	for _, r := range c.bases {
		known[r.ThinID] = true
	}
	for _, d := range details {
		if !known[d.ThinID] {
			unknown = append(unknown, d.ThinID)
		}
	}
	return lost, unknown
}

// String says in one line what was found.
func (r CheckReport) String() string {
	if r.Sound() {
		return fmt.Sprintf("pool %q is sound: %d volumes", r.Pool, r.Volumes)
	}
	return fmt.Sprintf("pool %q: metadata %q, needs check %t, registry's file system %q, registry %q, %d volumes lost, %d thin devices unknown",
		r.Pool, r.MetadataDamage, r.NeedsCheck, r.FileSystemDamage, r.RegistryDamage, len(r.Lost), len(r.UnknownThinIDs))
}
