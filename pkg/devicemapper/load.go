package devicemapper

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// LoadOptions says how a table is loaded.
type LoadOptions struct {
	// ReadOnly makes a device that cannot be written to.
	ReadOnly bool
}

// Load puts a table into a device's inactive slot, in place of one that may
// be there. It takes effect with the next Resume. The devices that the table
// names are opened now.
//
// ErrUnderlyingNotExist: one of them is not there. ErrThinNotExist: the pool
// has no such thin id. ErrPoolSuspended, ErrPoolNotWritable: a thin device's
// pool is suspended or has failed. syscall.EBUSY: a device below is held
// exclusively by someone else. syscall.EINVAL is all the kernel says to
// anything else it does not like, with the reason in its log.
func (c *Client) Load(ctx context.Context, ref Ref, table Table, options LoadOptions) error {
	payload, err := table.encode()
	if err != nil {
		return err
	}
	r := request{op: "load", command: unix.DM_TABLE_LOAD, ref: ref, targets: uint32(len(table)), payload: payload}
	if options.ReadOnly {
		r.flags = unix.DM_READONLY_FLAG
	}
	_, err = c.call(ctx, r)
	var refused *Error
	if errors.As(err, &refused) {
		refused.meaning = c.whyNotLoaded(ctx, ref, table, refused.Errno)
	}
	return err
}

// whyNotLoaded finds out what a refused table's errno stands for. The kernel
// uses few numbers for many reasons, so it asks about those that can be seen
// from here.
func (c *Client) whyNotLoaded(ctx context.Context, ref Ref, table Table, errno unix.Errno) error {
	switch errno {
	case unix.ENXIO, unix.ENODEV, unix.ENOENT:
		if _, err := c.Info(ctx, ref); err == nil {
			return ErrUnderlyingNotExist
		}
		return ErrNotExist
	case unix.ENODATA:
		return ErrThinNotExist
	case unix.EBUSY:
		return ErrBusy
	case unix.EINVAL:
		for _, segment := range table {
			if thin, ok := segment.Target.(Thin); ok {
				return c.whyNoThin(ctx, thin.Pool)
			}
		}
	}
	return nil
}

func (c *Client) whyNoThin(ctx context.Context, pool Ref) error {
	if info, err := c.Info(ctx, pool); err == nil && info.Suspended {
		return ErrPoolSuspended
	}
	if status, err := c.ThinPoolStatus(ctx, pool); err == nil && status.Mode == PoolModeFailed {
		return ErrPoolNotWritable
	}
	return nil
}

// Clear drops a table that was loaded and not resumed. Without one it does
// nothing.
func (c *Client) Clear(ctx context.Context, ref Ref) error {
	_, err := c.call(ctx, request{op: "clear", command: unix.DM_TABLE_CLEAR, ref: ref})
	return err
}
