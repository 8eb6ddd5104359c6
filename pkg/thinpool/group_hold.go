package thinpool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// groupHoldLimit is how long a group's sources are held back at most before the group is given up. A freeze that the kernel does
// not come back from adds to it: what it still has to write out, which is little, as all was written out before.
const groupHoldLimit = 5 * time.Second

// errHeldTooLong: not all sources of a group could be held within groupHoldLimit.
var errHeldTooLong = errors.New("the sources could not all be held back in time")

// holdGroup makes a snapshot of each source, with take, while all of them are held back that are in use. Like snapshotActive it
// first writes out what their file systems hold in memory, looks at the errors of that, and goes back to the beginning if the
// pool has raised an event since.
func (p *Pool) holdGroup(ctx context.Context, origins []devicemapper.ThinID, take func(member int) error) (held time.Duration, err error) {
	made := false
	for attempt := 1; ; attempt++ {
		held, err = p.holdGroupOnce(ctx, origins, func(member int) error {
			err := take(member)
			made = made || err == nil
			return err
		})
		again := errors.Is(err, errPoolMoved) || errors.Is(err, devicemapper.ErrNotExist)
		if made || !again || attempt == snapshotAttempts {
			return held, err
		}
	}
}

func (p *Pool) holdGroupOnce(ctx context.Context, origins []devicemapper.ThinID, take func(member int) error) (time.Duration, error) {
	active, err := p.activeAmong(ctx, origins)
	if err != nil {
		return 0, err
	}
	before, err := p.writable(ctx)
	if err != nil {
		return 0, err
	}
	writeOut := func() error {
		for _, device := range active {
			if err := p.writeOut(ctx, device); err != nil {
				return err
			}
		}
		return nil
	}
	if err := writeOut(); err != nil {
		return 0, err
	}
	held, err := p.snapshotsHeld(ctx, active, before, len(origins), take)
	if err != nil {
		return held, err
	}
	// A disk that failed between writing out and freezing tells whoever syncs next.
	return held, writeOut()
}

// activeAmong are the devices of those thin devices that are in use. The others stay as they are: their names are locked.
func (p *Pool) activeAmong(ctx context.Context, origins []devicemapper.ThinID) ([]devicemapper.Device, error) {
	var active []devicemapper.Device
	for _, origin := range origins {
		device, err := p.dm.Info(ctx, p.label.PoolID.thinUUID(uint32(origin)))
		switch {
		case errors.Is(err, devicemapper.ErrNotExist):
		case err != nil:
			return nil, err
		case device.LiveTable:
			active = append(active, device.Device)
		}
	}
	return active, nil
}

// snapshotsHeld takes the snapshots while the devices are held, unless the pool has raised an event since the one before.
func (p *Pool) snapshotsHeld(ctx context.Context, active []devicemapper.Device, before uint32, members int, take func(member int) error) (held time.Duration, err error) {
	p.reload.RLock()
	defer p.reload.RUnlock()
	held, err = p.holdAll(ctx, active, func(limited context.Context) error {
		reached(failGroupHeld)
		after, err := p.writable(ctx)
		if err == nil && after != before {
			err = errPoolMoved
		}
		if err != nil {
			return err
		}
		for member := range members {
			if limited.Err() != nil {
				return context.Cause(limited)
			}
			if err := take(member); err != nil {
				return err
			}
			if member == 0 {
				reached(failGroupSome)
			}
		}
		reached(failGroupMade)
		return nil
	})
	reached(failGroupResumed)
	if errors.Is(err, errFreeze) {
		// A file system could not be brought to a state that needs no recovery.
		_, state := p.writable(ctx)
		err = errors.Join(fmt.Errorf("%w: %w", ErrSyncFailed, err), state)
	}
	return held, err
}

// holdAll holds the I/O of several devices back while act runs, one after the other, and gives it back in the same order:
// who has waited longest is let go first. held is how long that one had to wait at most.
func (p *Pool) holdAll(ctx context.Context, devices []devicemapper.Device, act func(limited context.Context) error) (held time.Duration, err error) {
	limited, cancel := context.WithTimeoutCause(ctx, groupHoldLimit, errHeldTooLong)
	defer cancel()
	var began []time.Time
	defer func() {
		for i, start := range began {
			err = errors.Join(err, p.release(ctx, devices[i]))
			held = max(held, time.Since(start))
		}
	}()
	for _, device := range devices {
		start, err := p.freeze(limited, device)
		if err != nil {
			return 0, err
		}
		began = append(began, start)
	}
	return 0, act(limited)
}
