package devicemapper

import (
	"context"

	"golang.org/x/sys/unix"
)

// Info is what the kernel knows of a device itself, without asking targets.
// It is a Ref, and in print its device's name.
type Info struct {
	Device
	OpenCount int // how many times it is open: mounted, by a process, in another table
	// EventNumber counts the device's events; see Client.Wait.
	EventNumber uint32
	Suspended   bool // I/O is held back
	// InternallySuspended: the kernel holds I/O back on its own, as that of
	// the thin devices of a suspended pool.
	InternallySuspended bool
	DeferredRemove      bool // it goes when the last one closes it
	ReadOnly            bool
	LiveTable           bool
	InactiveTable       bool // a table is loaded and waits for a resume
	Segments            int  // of the live table
}

// Info describes a device. One that does not exist is ErrNotExist.
func (c *Client) Info(ctx context.Context, ref Ref) (Info, error) {
	r, err := c.call(ctx, request{op: "info", command: unix.DM_DEV_STATUS, ref: ref})
	if err != nil {
		return Info{}, err
	}
	return r.info(), nil
}

func (r response) info() Info {
	return Info{
		Device:              r.device(),
		OpenCount:           int(r.header.Open_count),
		EventNumber:         r.header.Event_nr,
		Suspended:           r.flag(unix.DM_SUSPEND_FLAG),
		InternallySuspended: r.flag(unix.DM_INTERNAL_SUSPEND_FLAG),
		DeferredRemove:      r.flag(unix.DM_DEFERRED_REMOVE),
		ReadOnly:            r.flag(unix.DM_READONLY_FLAG),
		LiveTable:           r.flag(unix.DM_ACTIVE_PRESENT_FLAG),
		InactiveTable:       r.flag(unix.DM_INACTIVE_PRESENT_FLAG),
		Segments:            int(r.header.Target_count),
	}
}
