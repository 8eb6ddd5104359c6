package thinpool

import (
	"context"
	"errors"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// Watch calls notify after each event of the kernel's pool (low water, a change of mode), and at least every interval,
// until ctx ends or the pool is closed; it returns ctx's error or ErrPoolClosed. notify is called from one goroutine at a
// time, first right at the beginning, and should read Status; it must not close the pool, which waits for it. Not everything
// that matters raises an event, hence the interval; events that come in a burst make one call. At most once an interval a block
// of each device below the pool is read, and what came of it is in Status.Fault.
func (p *Pool) Watch(ctx context.Context, interval time.Duration, notify func()) error {
	if err := p.begin(); err != nil {
		return p.wrap("watch", "", err)
	}
	defer p.work.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(p.life, cancel) //nolint:contextcheck // the pool's life ends the watch, too
	defer stop()
	for {
		p.lookAtDevices(ctx, interval)
		// The number is read before notify looks, so that an event in between ends the wait at once.
		seen, infoErr := p.dm.Info(ctx, p.device)
		if ctx.Err() == nil {
			notify()
		}
		if err := p.watchOnce(ctx, interval, seen.EventNumber, infoErr); err != nil {
			if p.life.Err() != nil {
				err = ErrPoolClosed
			}
			return p.wrap("watch", "", err)
		}
	}
}

// watchOnce waits for an event, or for interval. Where the device cannot be waited for, the timer remains.
func (p *Pool) watchOnce(ctx context.Context, interval time.Duration, seen uint32, infoErr error) error {
	wait, cancel := context.WithTimeout(ctx, interval)
	defer cancel()
	if infoErr == nil {
		_, err := p.dm.Wait(wait, p.device, seen)
		if err == nil || errors.Is(err, devicemapper.ErrNotExist) && ctx.Err() == nil {
			return p.breathe(ctx, min(interval, eventPause))
		}
	}
	<-wait.Done()
	return context.Cause(ctx)
}

// eventPause is the least time between two calls of notify.
const eventPause = 100 * time.Millisecond

func (p *Pool) breathe(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
