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
// has no such thin id. syscall.EBUSY: a device below is held exclusively by
// someone else. syscall.EINVAL is all the kernel says to anything else it
// does not like, with the reason in its log: a thin device of a suspended or
// failed pool, an unknown target, a pool that would shrink.
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
		switch refused.Errno {
		case unix.ENXIO, unix.ENODEV, unix.ENOENT:
			// The same number stands for the device itself and for one that
			// its table names. If the device is there, it was the latter.
			if _, infoErr := c.Info(ctx, ref); infoErr == nil {
				refused.meaning = ErrUnderlyingNotExist
			}
		case unix.ENODATA:
			refused.meaning = ErrThinNotExist
		}
	}
	return err
}

// Clear drops a table that was loaded and not resumed. Without one it does
// nothing.
func (c *Client) Clear(ctx context.Context, ref Ref) error {
	_, err := c.call(ctx, request{op: "clear", command: unix.DM_TABLE_CLEAR, ref: ref})
	return err
}
