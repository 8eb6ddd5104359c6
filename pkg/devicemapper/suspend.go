package devicemapper

import (
	"context"

	"golang.org/x/sys/unix"
)

// SuspendOptions says what Suspend leaves out.
type SuspendOptions struct {
	// SkipLockFS does not freeze the file system on the device. Without it a
	// mounted file system is written out and brought to a state that needs no
	// recovery; where none is mounted there is no difference.
	SkipLockFS bool
	// NoFlush does not wait for I/O that is queued within the device's
	// targets: it is held back with what comes later. It is the way to
	// suspend a device whose I/O cannot complete, as that of a full pool.
	NoFlush bool
}

// Suspend holds back a device's I/O: it waits until what has begun is done
// and what comes later waits for Resume. A device that is suspended stays so.
//
// A process that ends between Suspend and Resume leaves the device hanging.
// Freezing a file system that is just being unmounted waits for the unmount on
// older kernels and is syscall.EINVAL on newer ones: try again, or skip it. The wait for I/O has no limit, and the context cannot
// end it.
func (c *Client) Suspend(ctx context.Context, ref Ref, options SuspendOptions) error {
	flags := uint32(unix.DM_SUSPEND_FLAG)
	if options.SkipLockFS {
		flags |= unix.DM_SKIP_LOCKFS_FLAG
	}
	if options.NoFlush {
		flags |= unix.DM_NOFLUSH_FLAG
	}
	_, err := c.call(ctx, request{op: "suspend", command: unix.DM_DEV_SUSPEND, ref: ref, flags: flags})
	return err
}

// Resume makes a loaded table the live one, if there is one, and lets I/O go
// on. Without a new table, on a device that is not suspended, it does nothing.
//
// With a new table on a device that is not suspended the kernel suspends it
// first, file system and all; where that is not wanted, Suspend first.
func (c *Client) Resume(ctx context.Context, ref Ref) error {
	_, err := c.call(ctx, request{op: "resume", command: unix.DM_DEV_SUSPEND, ref: ref, event: udevFlags})
	return err
}
