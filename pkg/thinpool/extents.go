package thinpool

import (
	"context"
	"os"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
)

// extent is a run of bytes of a device.
type extent struct{ at, length int64 }

// ownExtents finds what of a thin device's blocks may be discarded where the pool passes discards down: those that were mapped
// since the last snapshot that the device was part of, its own making included. Nobody else ever had them.
//
// A block that was shared may be the device's alone now, and must not be discarded all the same. The kernel passes a discard
// down at once, while it may not have committed yet that the other one, which was written to, has got a copy. A power cut
// then brings back a pool in which the other one maps a block whose data is gone. The delete message passes nothing down.
func (p *Pool) ownExtents(ctx context.Context, thin uint32) (extents []extent, err error) {
	block := uint64(p.label.BlockSectors.Bytes())
	err = p.withMetadata(ctx, func(held heldMetadata) error {
		details, err := held.Details(ctx, held.superblock)
		if err != nil {
			return err
		}
		var snapshotTime uint32
		for _, d := range details {
			if d.ThinID == thin {
				snapshotTime = d.SnapshotTime
			}
		}
		for mapping, err := range held.Mappings(ctx, held.superblock, thin) {
			if err != nil {
				return err
			}
			if mapping.Time < snapshotTime {
				continue // snapshotted_since in drivers/md/dm-thin-metadata.c
			}
			next := extent{int64(mapping.Virtual * block), int64(mapping.Blocks * block)}
			if n := len(extents); n > 0 && extents[n-1].at+extents[n-1].length == next.at {
				extents[n-1].length += next.length
			} else {
				extents = append(extents, next)
			}
		}
		return nil
	})
	return extents, err
}

// cutExtents cuts the first length bytes off a list of extents, which is used up.
func cutExtents(extents []extent, length int64) (first, rest []extent) {
	for i, s := range extents {
		if s.length > length {
			if length > 0 {
				first = append(first, extent{s.at, length})
			}
			extents[i] = extent{s.at + length, s.length - length}
			return first, extents[i:]
		}
		first, length = append(first, s), length-s.length
	}
	return first, nil
}

// discardExtents discards them one after the other.
func discardExtents(device *os.File, extents []extent) error {
	for _, s := range extents {
		if err := blockdevice.Discard(device, s.at, s.length); err != nil {
			return err
		}
	}
	return nil
}
