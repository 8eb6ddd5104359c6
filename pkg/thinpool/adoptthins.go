package thinpool

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// adoptThins takes over the pool's thin devices that an earlier process left active. Those that it left suspended are
// resumed, as their I/O hangs until then, and those that it left shorter than their records are grown. What the engine itself
// used for a moment goes, as does what is deleted, at the latest when whoever has it open closes it.
func (p *Pool) adoptThins(ctx context.Context) error {
	active, err := p.stack.activeThins(ctx)
	if err != nil || len(active) == 0 {
		return err
	}
	records := make(map[uint32]volumeRecord, len(p.volumes))
	for _, v := range p.volumes {
		records[v.record.ThinID] = v.record
	}
	for _, device := range active {
		if err := p.adoptThin(ctx, device, records); err != nil && !errors.Is(err, devicemapper.ErrNotExist) {
			return fmt.Errorf("adopt device %s: %w", device.Name, err)
		}
	}
	return nil
}

func (p *Pool) adoptThin(ctx context.Context, device devicemapper.Device, records map[uint32]volumeRecord) error {
	logger := klog.FromContext(ctx)
	info, err := p.dm.Info(ctx, device)
	if err != nil {
		return err
	}
	thin, ours := p.label.PoolID.thinOf(info.UUID)
	if !ours {
		return nil
	}
	if info.Suspended && info.LiveTable {
		logger.Info("Resuming a device that was left suspended", "pool", p.label.PoolName, "device", device.Name)
		if err := p.stack.resume(ctx, info); err != nil {
			return err
		}
	}
	if !info.LiveTable || isBase(device, p.label.PoolID) || p.deletions[thin] != nil {
		err := p.removeDeleted(ctx, thin)
		if errors.Is(err, ErrVolumeInUse) {
			logger.Info("A device that is not needed any more is open", "pool", p.label.PoolName, "device", device.Name, "openCount", info.OpenCount)
			return nil
		}
		return err
	}
	p.noteDeferred(thin, info.DeferredRemove)
	if record, known := records[thin]; known {
		if err := p.fitDevice(ctx, record); err != nil {
			// The next GrowVolume or Activate tries again, and says so.
			logger.Error(err, "Growing a volume's device failed", "pool", p.label.PoolName, "device", device.Name)
		}
	}
	return nil
}
