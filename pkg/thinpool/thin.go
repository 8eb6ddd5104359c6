package thinpool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// undoTimeout bounds the clearing away of what a failed step has left.
const undoTimeout = 30 * time.Second

// takeThinID hands out a thin id. Ids only rise, so that one never stands for two volumes, not even in a log of last
// year. The mutex must be held.
func (p *Pool) takeThinID() (uint32, error) {
	if p.nextThinID >= registryThinID {
		return 0, fmt.Errorf("%w: all %d were used", ErrThinIDs, registryThinID)
	}
	p.nextThinID++
	return p.nextThinID - 1, nil
}

func (p *Pool) thinTable(thin uint32, size int64) devicemapper.Table {
	return devicemapper.Table{{Length: devicemapper.SectorsOf(size), Target: devicemapper.Thin{Pool: p.device.Number, ID: devicemapper.ThinID(thin)}}}
}

// healthy reads the pool's status after a message: success of a message says nothing if the commit behind it failed.
func (p *Pool) healthy(ctx context.Context) (devicemapper.ThinPoolStatus, error) {
	// What was done must be judged even if the caller has gone meanwhile.
	status, err := p.health.read(func() (devicemapper.ThinPoolStatus, error) {
		return p.dm.ThinPoolStatus(context.WithoutCancel(ctx), p.device)
	})
	if err == nil && !status.Healthy() {
		err = fmt.Errorf("%w: %s", ErrPoolFailed, failureOf(status))
	}
	return status, err
}

func failureOf(status devicemapper.ThinPoolStatus) string {
	if status.NeedsCheck {
		return fmt.Sprintf("the kernel holds it in mode %q and demands a check of its metadata (thin_check)", status.Mode)
	}
	return fmt.Sprintf("the kernel holds it in mode %q", status.Mode)
}

// messageFailure names what a refused message says about the pool, and notes what it says about the metadata.
func (p *Pool) messageFailure(ctx context.Context, err error) error {
	p.noteMetadata(ctx, err)
	if errors.Is(err, devicemapper.ErrPoolNotWritable) {
		return fmt.Errorf("%w: %w", ErrPoolFailed, err)
	}
	return err
}

// deleteThin deletes a thin device that is not active, durably. One that does not exist is success.
func (p *Pool) deleteThin(ctx context.Context, thin uint32) error {
	p.reload.RLock()
	err := p.dm.DeleteThin(ctx, p.device, devicemapper.ThinID(thin))
	p.reload.RUnlock()
	if err != nil && !errors.Is(err, devicemapper.ErrThinNotExist) {
		return p.messageFailure(ctx, err)
	}
	_, err = p.healthy(ctx)
	return err
}
