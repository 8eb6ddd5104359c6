package devicemapper

import (
	"context"
	"strings"
)

// ThinState says whether the kernel could tell about a thin device.
type ThinState string

// The states of a thin device. All but the first are the kernel's own words.
const (
	ThinStateOK     ThinState = "ok"    // the figures are there
	ThinStateFailed ThinState = "Fail"  // the pool has failed
	ThinStateError  ThinState = "Error" // the metadata could not be read
	ThinStateClosed ThinState = "-"     // the table is not bound to a thin device
)

// ThinStatus is the status line of a thin device (thin_status in the
// kernel's drivers/md/dm-thin.c). The figures include what the pool has not
// committed yet.
type ThinStatus struct {
	State ThinState
	// MappedSectors is the space mapped by the thin device, blocks it shares
	// with snapshots included. 0 unless State is ThinStateOK.
	MappedSectors Sectors
	// MappedEnd is the sector behind the highest mapped one; 0 where nothing
	// is mapped. The kernel prints the highest itself, or "-".
	MappedEnd Sectors
}

// ThinStatus reads the status of a thin device without committing the pool.
func (c *Client) ThinStatus(ctx context.Context, ref Ref) (ThinStatus, error) {
	text, err := c.one(ctx, ref, TypeThin)
	if err != nil {
		return ThinStatus{}, err
	}
	return ParseThinStatus(text)
}

// ParseThinStatus takes a status line of the thin target apart:
//
//	<mapped sectors> <highest mapped sector>|-
//	Fail | Error | -
func ParseThinStatus(text string) (ThinStatus, error) {
	malformed := func(reason string) (ThinStatus, error) {
		return ThinStatus{}, &FormatError{What: "thin status", Text: text, Reason: reason}
	}
	fields := strings.Fields(text)
	if len(fields) == 1 {
		switch state := ThinState(fields[0]); state {
		case ThinStateFailed, ThinStateError, ThinStateClosed:
			return ThinStatus{State: state}, nil
		}
	}
	if len(fields) != 2 {
		return malformed("want two fields, or Fail, Error or -")
	}
	status := ThinStatus{State: ThinStateOK}
	var err error
	if status.MappedSectors, err = number[Sectors](fields[0]); err != nil {
		return malformed("mapped sectors are not a number")
	}
	if fields[1] == "-" {
		return status, nil
	}
	highest, err := number[Sectors](fields[1])
	if err != nil || highest+1 == 0 {
		return malformed("the highest mapped sector is not a number")
	}
	status.MappedEnd = highest + 1
	return status, nil
}
