package devicemapper

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// The messages of a thin pool. Each is one commit of its metadata, and
// success does not say that the commit succeeded: the kernel ignores its
// result. Who needs to know reads ThinPoolStatus afterwards and goes on only
// if it is Healthy.
//
// All of them can fail with ErrPoolNotWritable and with ErrNotExist, which is
// about the pool's own device.

// CreateThin makes a thin device without a block of its own. ErrThinExist:
// the id is in use.
func (c *Client) CreateThin(ctx context.Context, pool Ref, id ThinID) error {
	if err := id.validate("thin id"); err != nil {
		return err
	}
	return c.poolMessage(ctx, pool, fmt.Sprintf("create_thin %d", id), meanings{unix.EEXIST: ErrThinExist})
}

// CreateSnapshot makes a thin device that shares all blocks of origin.
// ErrThinExist: id is in use; ErrThinNotExist: there is no origin.
//
// An origin that is active must be suspended meanwhile, or the snapshot is
// corrupt; the kernel does not check. Each call uses up one of the 2^24 − 1
// that a pool has in its life, behind which reads return wrong data.
func (c *Client) CreateSnapshot(ctx context.Context, pool Ref, id, origin ThinID) error {
	if err := errors.Join(id.validate("thin id"), origin.validate("origin thin id")); err != nil {
		return err
	}
	return c.poolMessage(ctx, pool, fmt.Sprintf("create_snap %d %d", id, origin),
		meanings{unix.EEXIST: ErrThinExist, unix.ENODATA: ErrThinNotExist})
}

// DeleteThin deletes a thin device and gives back the blocks that no other
// shares. ErrBusy: it is active. ErrThinNotExist: there is none.
//
// It holds the pool's metadata locked for as long as it takes to walk the
// device's mappings, about 0.3 µs each, while which no other thin device of
// the pool gets or changes a mapping.
func (c *Client) DeleteThin(ctx context.Context, pool Ref, id ThinID) error {
	if err := id.validate("thin id"); err != nil {
		return err
	}
	return c.poolMessage(ctx, pool, fmt.Sprintf("delete %d", id), meanings{unix.ENODATA: ErrThinNotExist})
}

// SetTransactionID replaces the number that the pool keeps for its owner, if
// it is expected at the moment. ErrTransactionMismatch: it is not.
func (c *Client) SetTransactionID(ctx context.Context, pool Ref, expected, id uint64) error {
	return c.poolMessage(ctx, pool, fmt.Sprintf("set_transaction_id %d %d", expected, id),
		meanings{unix.EINVAL: ErrTransactionMismatch})
}

// ReserveMetadataSnapshot keeps the mappings as they are now for a reader
// outside the kernel, who finds their root in ThinPoolStatus. A pool has one
// such snapshot at a time; ErrMetadataSnapshotHeld: it is taken. Release it
// soon: it makes every change to the metadata dearer.
func (c *Client) ReserveMetadataSnapshot(ctx context.Context, pool Ref) error {
	return c.poolMessage(ctx, pool, "reserve_metadata_snap", meanings{unix.EBUSY: ErrMetadataSnapshotHeld})
}

// ReleaseMetadataSnapshot gives it up. ErrNoMetadataSnapshot: there is none.
func (c *Client) ReleaseMetadataSnapshot(ctx context.Context, pool Ref) error {
	return c.poolMessage(ctx, pool, "release_metadata_snap", meanings{unix.EINVAL: ErrNoMetadataSnapshot})
}

// meanings says what an errno stands for in the answer to one message.
type meanings map[unix.Errno]error

func (c *Client) poolMessage(ctx context.Context, pool Ref, message string, special meanings) error {
	_, err := c.Message(ctx, pool, 0, message)
	var refused *Error
	if !errors.As(err, &refused) {
		return err
	}
	if meaning, ok := special[refused.Errno]; ok {
		refused.meaning = meaning
	} else if refused.Errno == unix.EOPNOTSUPP {
		refused.meaning = ErrPoolNotWritable
	}
	return err
}
