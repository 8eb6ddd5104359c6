package devicemapper

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// TableOptions says which of a device's two tables Table reads.
type TableOptions struct {
	// Inactive reads the table that was loaded and waits for a resume.
	Inactive bool
}

// Table reads a device's live table. Targets of known types come back typed,
// others, and lines that cannot be read, as RawTarget. A device without a
// table is ErrNoTable. No I/O is done and nothing is committed.
func (c *Client) Table(ctx context.Context, ref Ref, options TableOptions) (Table, error) {
	flags := uint32(unix.DM_STATUS_TABLE_FLAG | unix.DM_NOFLUSH_FLAG)
	present := uint32(unix.DM_ACTIVE_PRESENT_FLAG)
	if options.Inactive {
		flags |= unix.DM_QUERY_INACTIVE_TABLE_FLAG
		present = unix.DM_INACTIVE_PRESENT_FLAG
	}
	lines, err := c.lines(ctx, "table", ref, flags, present)
	if err != nil {
		return nil, err
	}
	table := make(Table, len(lines))
	for i, l := range lines {
		table[i] = Segment{Start: l.start, Length: l.length, Target: parseTarget(l.targetType, l.text)}
	}
	return table, nil
}

// StatusOptions says what Status may do to get its answer.
type StatusOptions struct {
	// Flush has a thin pool commit its metadata first, so that the figures
	// are the ones on disk. It writes and waits: half a millisecond instead
	// of microseconds on a quick disk, and for ever on one that hangs.
	Flush bool
}

// TargetStatus is what the target of one segment says about itself.
type TargetStatus struct {
	Start, Length Sectors
	Type          string // the kernel's name of the target
	Text          string // its status line; what it means is up to the target
}

// Status reads the status line of each segment of a device's live table. A
// device without a table is ErrNoTable. See ThinPoolStatus and ThinStatus for
// lines taken apart.
func (c *Client) Status(ctx context.Context, ref Ref, options StatusOptions) ([]TargetStatus, error) {
	var flags uint32
	if !options.Flush {
		flags = unix.DM_NOFLUSH_FLAG
	}
	lines, err := c.lines(ctx, "status", ref, flags, unix.DM_ACTIVE_PRESENT_FLAG)
	if err != nil {
		return nil, err
	}
	status := make([]TargetStatus, len(lines))
	for i, l := range lines {
		status[i] = TargetStatus{Start: l.start, Length: l.length, Type: l.targetType, Text: l.text}
	}
	return status, nil
}

func (c *Client) lines(ctx context.Context, op string, ref Ref, flags, present uint32) ([]line, error) {
	r, err := c.call(ctx, request{op: op, command: unix.DM_TABLE_STATUS, ref: ref, flags: flags, room: 1024})
	if err != nil {
		return nil, err
	}
	if !r.flag(present) {
		return nil, &Error{Op: op, Device: ref.String(), meaning: ErrNoTable}
	}
	return parseLines(r.data, int(r.header.Target_count))
}

// one returns the status line of a device that has a single target of the
// given type.
func (c *Client) one(ctx context.Context, ref Ref, targetType string) (string, error) {
	status, err := c.Status(ctx, ref, StatusOptions{})
	if err != nil {
		return "", err
	}
	switch {
	case len(status) != 1:
		return "", invalid("device "+ref.String(), fmt.Sprintf("%d segments", len(status)), "a single segment, "+targetType)
	case status[0].Type != targetType:
		return "", invalid("device "+ref.String(), status[0].Type, "a single segment, "+targetType)
	}
	return status[0].Text, nil
}
