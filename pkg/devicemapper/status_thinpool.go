package devicemapper

import (
	"context"
	"strings"
)

// PoolMode is what a thin pool can still do, in the kernel's own words.
type PoolMode string

// The modes of a thin pool.
const (
	// PoolModeReadWrite: all is well, as far as it is known.
	PoolModeReadWrite PoolMode = "rw"
	// PoolModeOutOfDataSpace: no free data block. What is mapped is read and
	// written; other writes wait or fail. Messages are taken.
	PoolModeOutOfDataSpace PoolMode = "out_of_data_space"
	// PoolModeReadOnly: the metadata is not changed any more, because its
	// space has run out, a commit failed, or the table says so.
	PoolModeReadOnly PoolMode = "ro"
	// PoolModeFailed: no I/O at all. The status has no figures.
	PoolModeFailed PoolMode = "Fail"
	// PoolModeError: the kernel could not read the metadata's figures just
	// now. The status has none.
	PoolModeError PoolMode = "Error"
)

// DiscardMode is what a thin pool does with discards, in the kernel's words.
// It may be less than the table asked for: passdown is switched off where the
// data device has no discards.
type DiscardMode string

// What becomes of a discard.
const (
	DiscardPassdown   DiscardMode = "discard_passdown"    // unmap, and discard on the data device
	DiscardNoPassdown DiscardMode = "no_discard_passdown" // unmap only
	DiscardIgnore     DiscardMode = "ignore_discard"      // nothing
)

// ThinPoolStatus is the status line of a thin pool (pool_status in the
// kernel's drivers/md/dm-thin.c). All but Mode is zero in PoolModeFailed and
// PoolModeError.
type ThinPoolStatus struct {
	Mode PoolMode
	// TransactionID is the number that belongs to the pool's owner; see
	// Client.SetTransactionID.
	TransactionID uint64
	// UsedMetadata counts up to 16 MiB that the kernel keeps in reserve, so
	// that a small metadata device never looks empty.
	UsedMetadata, TotalMetadata MetadataBlocks
	UsedData, TotalData         DataBlocks
	// HeldMetadataRoot is the block of the metadata snapshot's superblock, 0
	// where none is held.
	HeldMetadataRoot MetadataBlocks
	Discards         DiscardMode
	// ErrorIfNoSpace: a write that finds no free block fails at once. Else it
	// waits. (error_if_no_space, queue_if_no_space)
	ErrorIfNoSpace bool
	// NeedsCheck: a metadata operation failed and the metadata says so. The
	// flag outlives deactivation until thin_check has been run and has
	// cleared it.
	NeedsCheck bool
	// MetadataLowWater is how many free metadata blocks are left when the
	// kernel raises an event.
	MetadataLowWater MetadataBlocks
}

// Healthy reports whether the pool's metadata is known to be good and is
// being written. A message after which the pool is not healthy may have had
// no lasting effect although it returned success.
func (s ThinPoolStatus) Healthy() bool {
	return !s.NeedsCheck && (s.Mode == PoolModeReadWrite || s.Mode == PoolModeOutOfDataSpace)
}

// FreeData returns the number of free data blocks.
func (s ThinPoolStatus) FreeData() DataBlocks { return s.TotalData - min(s.UsedData, s.TotalData) }

// FreeMetadata returns the number of free metadata blocks, the kernel's
// reserve not among them.
func (s ThinPoolStatus) FreeMetadata() MetadataBlocks {
	return s.TotalMetadata - min(s.UsedMetadata, s.TotalMetadata)
}

// ThinPoolStatus reads the status of a thin pool without committing it.
func (c *Client) ThinPoolStatus(ctx context.Context, ref Ref) (ThinPoolStatus, error) {
	text, err := c.one(ctx, ref, TypeThinPool)
	if err != nil {
		return ThinPoolStatus{}, err
	}
	return ParseThinPoolStatus(text)
}

// ParseThinPoolStatus takes a status line of the thin-pool target apart:
//
//	<transaction id> <used>/<total metadata blocks> <used>/<total data blocks>
//	    <held metadata root>|- rw|ro|out_of_data_space
//	    discard_passdown|no_discard_passdown|ignore_discard
//	    queue_if_no_space|error_if_no_space needs_check|- <metadata low water>
//	Fail | Error
func ParseThinPoolStatus(text string) (ThinPoolStatus, error) {
	malformed := func(reason string) (ThinPoolStatus, error) {
		return ThinPoolStatus{}, &FormatError{What: "thin-pool status", Text: text, Reason: reason}
	}
	fields := strings.Fields(text)
	if len(fields) == 1 {
		switch mode := PoolMode(fields[0]); mode {
		case PoolModeFailed, PoolModeError:
			return ThinPoolStatus{Mode: mode}, nil
		}
	}
	if len(fields) != 9 {
		return malformed("want nine fields, or Fail or Error")
	}
	var s ThinPoolStatus
	var err error
	if s.TransactionID, err = number[uint64](fields[0]); err != nil {
		return malformed("the transaction id is not a number")
	}
	if s.UsedMetadata, s.TotalMetadata, err = usage[MetadataBlocks](fields[1]); err != nil {
		return malformed("metadata usage is not used/total")
	}
	if s.UsedData, s.TotalData, err = usage[DataBlocks](fields[2]); err != nil {
		return malformed("data usage is not used/total")
	}
	if fields[3] != "-" {
		if s.HeldMetadataRoot, err = number[MetadataBlocks](fields[3]); err != nil || s.HeldMetadataRoot == 0 {
			return malformed("the held metadata root is neither - nor a block")
		}
	}
	switch s.Mode = PoolMode(fields[4]); s.Mode {
	case PoolModeReadWrite, PoolModeReadOnly, PoolModeOutOfDataSpace:
	default:
		return malformed("unknown mode")
	}
	switch s.Discards = DiscardMode(fields[5]); s.Discards {
	case DiscardPassdown, DiscardNoPassdown, DiscardIgnore:
	default:
		return malformed("unknown discard mode")
	}
	switch fields[6] {
	case "error_if_no_space":
		s.ErrorIfNoSpace = true
	case "queue_if_no_space":
	default:
		return malformed("unknown policy for no space")
	}
	switch fields[7] {
	case "needs_check":
		s.NeedsCheck = true
	case "-":
	default:
		return malformed("the check flag is neither - nor needs_check")
	}
	if s.MetadataLowWater, err = number[MetadataBlocks](fields[8]); err != nil {
		return malformed("the metadata low-water mark is not a number")
	}
	return s, nil
}

func usage[T ~uint64](field string) (used, total T, err error) {
	before, after, _ := strings.Cut(field, "/")
	if used, err = number[T](before); err != nil {
		return 0, 0, err
	}
	total, err = number[T](after)
	return used, total, err
}
