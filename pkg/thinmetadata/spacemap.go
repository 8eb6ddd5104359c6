package thinmetadata

import (
	"encoding/binary"
	"fmt"
)

// The space map of the metadata itself (drivers/md/persistent-data/dm-space-map-common.h): a block with the index
// (struct disk_metadata_index), whose entries are bitmap blocks, whose entries are two bits for each metadata block. Header
// and index entry have 16 bytes. The bits are 0 for a block that is free.
const (
	indexSalt  = 160478 // INDEX_CSUM_XOR
	bitmapSalt = 240779 // BITMAP_CSUM_XOR

	spaceMapHeader      = 16
	spaceMapBlockNumber = 8 // in the header
	indexEntrySize      = 16
	blocksPerBitmap     = (BlockSize - spaceMapHeader) * 4
)

// references tells how often a metadata block is referred to in the transaction of the superblock in block 0: 0, 1, or 2
// for two times and more. It reads what that transaction has committed, which stays until the next one has.
func (d *Device) references(s Superblock, number uint64) (int, error) {
	if number >= s.MetadataBlocks || number/blocksPerBitmap >= (BlockSize-spaceMapHeader)/indexEntrySize {
		return 0, fmt.Errorf("%w: block %d is out of bounds", ErrDamaged, number)
	}
	memory := newBatch(1)
	block := &memory[0]
	if err := d.readSpaceMap(s.SpaceMapIndex, memory, indexSalt); err != nil {
		return 0, err
	}
	entry := block[spaceMapHeader+number/blocksPerBitmap*indexEntrySize:]
	if err := d.readSpaceMap(binary.LittleEndian.Uint64(entry), memory, bitmapSalt); err != nil {
		return 0, err
	}
	at := number % blocksPerBitmap
	switch bits := block[spaceMapHeader+at/4] >> (at % 4 * 2) & 3; bits {
	case 0:
		return 0, nil
	case 2: // the lower bit is the more significant one
		return 1, nil
	default:
		return 2, nil
	}
}

func (d *Device) readSpaceMap(number uint64, memory []Block, salt uint32) error {
	if err := d.read(number, memory); err != nil {
		return err
	}
	return verify(&memory[0], number, salt, spaceMapBlockNumber)
}
