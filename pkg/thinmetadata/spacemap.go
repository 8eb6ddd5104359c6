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

// Allocated tells whether a metadata block is in use in the transaction of the superblock in block 0. It reads what that
// transaction has committed, which stays until the next one has.
func (d *Device) Allocated(s Superblock, number uint64) (bool, error) {
	if number >= s.MetadataBlocks || number/blocksPerBitmap >= (BlockSize-spaceMapHeader)/indexEntrySize {
		return false, fmt.Errorf("%w: block %d is out of bounds", ErrDamaged, number)
	}
	memory := newBatch(1)
	block := &memory[0]
	if err := d.readSpaceMap(s.SpaceMapIndex, memory, indexSalt); err != nil {
		return false, err
	}
	entry := block[spaceMapHeader+number/blocksPerBitmap*indexEntrySize:]
	if err := d.readSpaceMap(binary.LittleEndian.Uint64(entry), memory, bitmapSalt); err != nil {
		return false, err
	}
	bit := number % blocksPerBitmap
	return block[spaceMapHeader+bit/4]>>(bit%4*2)&3 != 0, nil
}

func (d *Device) readSpaceMap(number uint64, memory []Block, salt uint32) error {
	if err := d.read(number, memory); err != nil {
		return err
	}
	return verify(&memory[0], number, salt, spaceMapBlockNumber)
}
