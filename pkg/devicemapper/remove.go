package devicemapper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultBusyTimeout is how long Remove tries again on a device in use.
const DefaultBusyTimeout = time.Second

// How long Remove waits between two attempts: it begins with the first and
// doubles up to the second.
const (
	firstBusyDelay = time.Millisecond
	lastBusyDelay  = 50 * time.Millisecond
)

// RemoveOptions says what Remove does about a device that is in use.
type RemoveOptions struct {
	// BusyTimeout is how long it is tried again, within the context's own
	// bounds: udev or another prober may hold the device open for a moment.
	// 0 is DefaultBusyTimeout; less than 0 is a single attempt.
	BusyTimeout time.Duration
	// Deferred has the kernel remove a device that is still in use then as
	// soon as the last one closes it.
	Deferred bool
}

// Remove removes a device and its tables. deferred says that it was in use
// and that the kernel will remove it when it is closed, which only happens if
// the options allow it; until then its name and UUID stay taken, and
// CancelDeferredRemove takes the removal back.
//
// ErrBusy: in use, also where the context ended meanwhile; the error matches
// the context's then as well, and nothing is deferred. ErrNotExist: there is
// no such device (any more).
func (c *Client) Remove(ctx context.Context, ref Ref, options RemoveOptions) (deferred bool, err error) {
	timeout := options.BusyTimeout
	if timeout == 0 {
		timeout = DefaultBusyTimeout
	}
	deadline := time.Now().Add(timeout)
	var busy error
	for delay := firstBusyDelay; ; delay = min(2*delay, lastBusyDelay) {
		if err := c.remove(ctx, ref); !errors.Is(err, ErrBusy) {
			return false, gaveUp(ctx, busy, err)
		} else if busy = err; time.Until(deadline) < delay {
			break
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false, gaveUp(ctx, busy, context.Cause(ctx))
		}
	}
	if options.Deferred {
		return c.removeDeferred(ctx, ref)
	}
	return false, busy
}

// gaveUp adds what stood in the way to the error of a context that has ended.
func gaveUp(ctx context.Context, busy, err error) error {
	if busy == nil || err == nil || ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("%w; gave up: %w", busy, err)
}

func (c *Client) remove(ctx context.Context, ref Ref) error {
	_, err := c.call(ctx, request{op: "remove", command: unix.DM_DEV_REMOVE, ref: ref, event: udevFlags})
	return err
}

func (c *Client) removeDeferred(ctx context.Context, ref Ref) (deferred bool, err error) {
	r, err := c.call(ctx, request{
		op: "remove", command: unix.DM_DEV_REMOVE, ref: ref, event: udevFlags, flags: unix.DM_DEFERRED_REMOVE,
	})
	if err != nil {
		return false, err
	}
	// The kernel clears the flag where it could remove the device at once.
	return r.flag(unix.DM_DEFERRED_REMOVE), nil
}

// CancelDeferredRemove takes a deferred removal back. A device that has none
// pending is left as it is. ErrBusy: the removal is under way already.
func (c *Client) CancelDeferredRemove(ctx context.Context, ref Ref) error {
	_, err := c.Message(ctx, ref, 0, "@cancel_deferred_remove")
	return err
}
