package thinpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
)

// RepairReport is what a repair has found and done.
type RepairReport struct {
	Before CheckReport    `json:"before"`
	Done   []RepairAction `json:"done,omitempty"`
	After  CheckReport    `json:"after"`
	// Superblock or a tree's root was lost, and what was found in its place may be older than the last commit: volumes made
	// since may be missing, deleted ones be back, and a block may stand in two volumes' place. Their file systems are to be
	// checked before they are used.
	Reconstructed bool `json:"reconstructed,omitempty"`
	// Volumes of which fewer blocks are mapped than before. The missing ones read as zeros.
	Damaged []DamagedVolume `json:"damaged,omitempty"`
}

// DamagedVolume is a volume that a repair has brought back in part.
type DamagedVolume struct {
	Name   string `json:"name"`
	ThinID uint32 `json:"thinID"`
	// Bytes of the volume that were mapped before, and are mapped now.
	MappedBefore int64 `json:"mappedBefore"`
	MappedAfter  int64 `json:"mappedAfter"`
}

// Repair checks the pool of a configuration, which must not be open and none of whose volumes may be active
// (ErrVolumeInUse names them), does what CheckReport.Actions say, and checks again. Each action must be in approved;
// ErrNotApproved names the first that is not, and nothing was changed. A sound pool is left as it is.
//
// Metadata that is damaged is not changed: what can be read of it is written into the spare area by thin_repair and
// checked, and then the label exchanges the two. The damaged metadata is the spare from then on, until the next repair
// writes over it. All bases are deleted by the next Open, since one that lacks a block would be every new volume's
// fault. A repair that was cut anywhere is followed by another.
//
// Errors are those of Check. Repair of a pool whose metadata cannot be read at all is ErrPoolDamaged.
func Repair(ctx context.Context, dm *devicemapper.Client, config Config, approved []RepairAction) (r RepairReport, err error) {
	m, err := beginMaintenance(ctx, dm, config)
	if err != nil {
		return r, &Error{Op: "repair", Pool: config.Name, Err: err}
	}
	err = m.repair(ctx, approved, &r)
	if err = errors.Join(err, m.end(ctx)); err != nil {
		err = &Error{Op: "repair", Pool: config.Name, Err: err}
	}
	return r, err
}

func (m *maintenance) repair(ctx context.Context, approved []RepairAction, r *RepairReport) error {
	if err := m.deactivate(ctx); err != nil {
		return err
	}
	reached(failRepairInactive)
	before, err := m.examine(ctx)
	if err != nil {
		return err
	}
	r.Before, r.After = before.report, before.report
	actions := before.report.Actions()
	for _, action := range actions {
		if !slices.Contains(approved, action) {
			return fmt.Errorf("%w: %s", ErrNotApproved, action)
		}
	}
	logger := klog.FromContext(ctx)
	for _, action := range actions {
		logger.Info("Repairing a thin pool", "pool", m.label.PoolName, "poolID", m.label.PoolID, "action", action)
		switch action {
		case ActionFileSystem:
			err = m.repairFileSystem(ctx)
			reached(failRepairFileSystem)
		case ActionNeedsCheck:
			err = m.clearNeedsCheck(ctx, partRepairMetadata, areaMetadata)
			reached(failRepairCleared)
		case ActionMetadata:
			r.Reconstructed = before.metadata.rootsLost()
			err = m.rebuildMetadata(ctx, before)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", action, err)
		}
		r.Done = append(r.Done, action)
	}
	if len(actions) == 0 {
		return nil
	}
	after, err := m.examine(ctx)
	if err != nil {
		return err
	}
	r.After = after.report
	if after.registry != nil {
		r.Damaged = after.registry.damaged(before.metadata.details, after.metadata.details, m.label.BlockSectors.Bytes())
	}
	if left := after.report.Actions(); len(left) > 0 {
		return fmt.Errorf("%w: after the repair there is still to do: %v", ErrPoolDamaged, left)
	}
	return nil
}

// deactivate removes the pool's own kernel devices, so that nobody but this process writes to the areas.
func (m *maintenance) deactivate(ctx context.Context) error {
	active, err := m.stack.activeThins(ctx)
	if err != nil {
		return err
	}
	var users []string
	for _, device := range active {
		if isBase(device, m.label.PoolID) {
			if err := m.stack.remove(ctx, device); err != nil {
				return err
			}
			continue
		}
		users = append(users, strings.TrimPrefix(string(device.Name), m.label.PoolID.prefix()+"volume-"))
	}
	if len(users) > 0 {
		slices.Sort(users)
		return fmt.Errorf("%w: active on this node: %s; end the pods that use them", ErrVolumeInUse, strings.Join(users, ", "))
	}
	return m.stack.removeParts(ctx)
}

// damaged lists the volumes that have fewer blocks mapped than before. What there was before may not be known.
func (c *registryContents) damaged(before, after []thinmetadata.Details, block int64) []DamagedVolume {
	now := map[uint32]uint64{}
	for _, d := range after {
		now[d.ThinID] = d.MappedBlocks
	}
	then := map[uint32]uint64{}
	for _, d := range before {
		then[d.ThinID] = d.MappedBlocks
	}
	var list []DamagedVolume
	for name, v := range c.volumes {
		thin := v.record.ThinID
		mapped, there := now[thin]
		if was := then[thin]; there && mapped < was {
			list = append(list, DamagedVolume{Name: name, ThinID: thin, MappedBefore: int64(was) * block, MappedAfter: int64(mapped) * block})
		}
	}
	slices.SortFunc(list, func(a, b DamagedVolume) int { return strings.Compare(a.Name, b.Name) })
	return list
}
