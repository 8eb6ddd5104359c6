package thinmetadata

import (
	"encoding/binary"
	"fmt"
)

// Details is what the pool keeps about a thin device (struct disk_device_details).
type Details struct {
	ThinID uint32
	// MappedBlocks of the pool's data, those that it shares included.
	MappedBlocks  uint64
	TransactionID uint64
	// CreationTime and SnapshotTime are values of the superblock's Time.
	CreationTime, SnapshotTime uint32
}

// struct node_header of drivers/md/persistent-data/dm-btree-internal.h: 32 bytes, then max_entries keys of 8 bytes, then
// as many values.
const (
	nodeFlags        = 4
	nodeBlockNumber  = 8
	nodeEntries      = 16
	nodeMaxEntries   = 20
	nodeValueSize    = 24
	nodeHeaderSize   = 32
	nodeInternal     = 1
	nodeLeaf         = 2
	detailsValueSize = 24
	pointerSize      = 8
	// A tree of 2^24 thin devices has four levels; more is a loop.
	maximumDepth = 16
)

// Details lists the thin devices of the superblock's details tree, in the order of their ids.
func (d *Device) Details(s Superblock) ([]Details, error) {
	var found []Details
	err := d.walk(s.DetailsRoot, 0, func(key uint64, value []byte) error {
		if key > 1<<24-1 || len(found) > 0 && uint32(key) <= found[len(found)-1].ThinID {
			return fmt.Errorf("%w: thin id %d is out of order", ErrDamaged, key)
		}
		found = append(found, Details{
			ThinID:       uint32(key),
			MappedBlocks: binary.LittleEndian.Uint64(value), TransactionID: binary.LittleEndian.Uint64(value[8:]),
			CreationTime: binary.LittleEndian.Uint32(value[16:]), SnapshotTime: binary.LittleEndian.Uint32(value[20:]),
		})
		return nil
	})
	return found, err
}

func (d *Device) walk(number uint64, depth int, leaf func(key uint64, value []byte) error) error {
	if depth > maximumDepth {
		return fmt.Errorf("%w: the details tree is deeper than %d levels", ErrDamaged, maximumDepth)
	}
	block := aligned()
	if err := d.read(number, block); err != nil {
		return err
	}
	entries, valueSize, internal, err := parseNode(block, number)
	if err != nil {
		return err
	}
	values := nodeHeaderSize + 8*int(binary.LittleEndian.Uint32(block[nodeMaxEntries:]))
	for i := range entries {
		key := binary.LittleEndian.Uint64(block[nodeHeaderSize+8*i:])
		value := block[values+i*valueSize : values+(i+1)*valueSize]
		if internal {
			err = d.walk(binary.LittleEndian.Uint64(value), depth+1, leaf)
		} else {
			err = leaf(key, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseNode checks a node's header, and that what it announces fits the block.
func parseNode(block *Block, number uint64) (entries, valueSize int, internal bool, err error) {
	if err := verify(block, number, btreeSalt, nodeBlockNumber); err != nil {
		return 0, 0, false, err
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(block[at:]) }
	entryCount, maximum, size := uint64(u32(nodeEntries)), uint64(u32(nodeMaxEntries)), uint64(u32(nodeValueSize))
	internal = u32(nodeFlags)&nodeInternal != 0
	want := uint64(detailsValueSize)
	if internal {
		want = pointerSize
	} else if u32(nodeFlags)&nodeLeaf == 0 {
		return 0, 0, false, fmt.Errorf("%w: block %d is neither a leaf nor an inner node", ErrDamaged, number)
	}
	if size != want || entryCount > maximum || nodeHeaderSize+maximum*(8+size) > BlockSize {
		return 0, 0, false, fmt.Errorf("%w: node %d of %d entries of %d bytes, %d at most", ErrDamaged, number, entryCount, size, maximum)
	}
	return int(entryCount), int(size), internal, nil
}
