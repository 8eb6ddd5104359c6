package thinmetadata

import (
	"context"
	"encoding/binary"
	"fmt"
)

// maximumThinID is the highest id of a thin device (MAX_DEV_ID).
const maximumThinID = 1<<24 - 1

const detailsSize = 24

// Details is what the pool keeps about a thin device (struct disk_device_details).
type Details struct {
	ThinID uint32
	// MappedBlocks of the pool's data, those that it shares included.
	MappedBlocks  uint64
	TransactionID uint64
	// CreationTime and SnapshotTime are values of the superblock's Time.
	CreationTime, SnapshotTime uint32
}

// Details lists the thin devices of the superblock's details tree, in the order of their ids.
func (d *Device) Details(ctx context.Context, s Superblock) ([]Details, error) {
	var found []Details
	err := d.EachDetails(ctx, s, func(details Details) error {
		found = append(found, details)
		return nil
	})
	return found, err
}

// EachDetails visits the thin devices of the superblock's details tree, in the order of their ids. An error of visit ends it.
func (d *Device) EachDetails(ctx context.Context, s Superblock, visit func(Details) error) error {
	return d.walkTree(ctx, s.DetailsRoot, detailsSize, func(leaf node) error {
		for i := range leaf.entries {
			id, err := thinID(leaf.key(i))
			if err != nil {
				return err
			}
			value := leaf.value(i)
			err = visit(Details{
				ThinID:       id,
				MappedBlocks: binary.LittleEndian.Uint64(value), TransactionID: binary.LittleEndian.Uint64(value[8:]),
				CreationTime: binary.LittleEndian.Uint32(value[16:]), SnapshotTime: binary.LittleEndian.Uint32(value[20:]),
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func thinID(key uint64) (uint32, error) {
	if key > maximumThinID {
		return 0, fmt.Errorf("%w: thin id %d is out of bounds", ErrDamaged, key)
	}
	return uint32(key), nil
}
