package thinmetadata

import (
	"encoding/binary"
	"fmt"
)

const superblockMagic = 27022010 // THIN_SUPERBLOCK_MAGIC

// maximumVersion is the newest format that is known (THIN_VERSION).
const maximumVersion = 2

// Fields of struct thin_disk_superblock, in bytes from its beginning. The two space-map roots are SPACE_MAP_ROOT_SIZE,
// 128 bytes, each.
const (
	fieldFlags           = 4
	fieldBlockNumber     = 8
	fieldMagic           = 32
	fieldVersion         = 40
	fieldTime            = 44
	fieldTransaction     = 48
	fieldHeldRoot        = 56
	fieldDataBlocks      = 64 // of struct disk_sm_root, the space map of the data
	fieldDataAllocated   = 72
	fieldSpaceMapIndex   = 208 // bitmap_root of struct disk_sm_root, the space map of the metadata, which begins at 192
	fieldMappingRoot     = 320
	fieldDetailsRoot     = 328
	fieldDataBlockSize   = 336
	fieldMetadataBlocks  = 344
	flagNeedsCheck       = 1 // THIN_METADATA_NEEDS_CHECK_FLAG
	fieldMetadataBlockSz = 340
)

// Superblock is block 0 of the metadata, or the block that holds a metadata snapshot's.
type Superblock struct {
	NeedsCheck bool
	Version    uint32
	// Time counts the snapshots that were ever made. Mappings keep 24 bits of it.
	Time          uint32
	TransactionID uint64
	// HeldRoot is the block of a metadata snapshot's superblock, or 0.
	HeldRoot uint64
	// Roots of the trees of mappings and of details, as block numbers.
	MappingRoot, DetailsRoot uint64
	// SpaceMapIndex is the block with the index of the metadata's space map. It is 0 in a metadata snapshot.
	SpaceMapIndex uint64
	// DataBlockSize in sectors of 512 bytes.
	DataBlockSize uint32
	// MetadataBlocks is the size of the metadata in blocks, as far as the pool uses it.
	MetadataBlocks uint64
	// DataBlocks is the size of the pool's data in blocks of DataBlockSize, UsedDataBlocks how many of these are allocated.
	// The kernel leaves both out of a metadata snapshot: they are 0 there.
	DataBlocks, UsedDataBlocks uint64
}

// ReadSuperblock reads the superblock in a block: 0, or the held root of the pool's status. It is checked.
func (d *Device) ReadSuperblock(number uint64) (Superblock, error) {
	memory := newBatch(1)
	if err := d.read(number, memory); err != nil {
		return Superblock{}, err
	}
	return parseSuperblock(&memory[0], number)
}

func parseSuperblock(block *Block, number uint64) (Superblock, error) {
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(block[at:]) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(block[at:]) }
	if magic := u64(fieldMagic); magic != superblockMagic {
		if *block == (Block{}) {
			return Superblock{}, fmt.Errorf("%w: the superblock is all zeros", ErrDamaged)
		}
		return Superblock{}, fmt.Errorf("%w: the superblock has the mark %d instead of %d", ErrDamaged, magic, superblockMagic)
	}
	if stored, want := u32(0), checksum(block, superblockSalt); stored != want {
		return Superblock{}, fmt.Errorf("%w: the superblock in block %d has checksum %08x instead of %08x", ErrDamaged, number, stored, want)
	}
	s := Superblock{
		NeedsCheck: u32(fieldFlags)&flagNeedsCheck != 0, Version: u32(fieldVersion), Time: u32(fieldTime),
		TransactionID: u64(fieldTransaction), HeldRoot: u64(fieldHeldRoot), MappingRoot: u64(fieldMappingRoot),
		DetailsRoot: u64(fieldDetailsRoot), DataBlockSize: u32(fieldDataBlockSize), MetadataBlocks: u64(fieldMetadataBlocks),
		SpaceMapIndex: u64(fieldSpaceMapIndex), DataBlocks: u64(fieldDataBlocks), UsedDataBlocks: u64(fieldDataAllocated),
	}
	if s.Version == 0 || s.Version > maximumVersion {
		return Superblock{}, fmt.Errorf("%w: version %d is not known", ErrDamaged, s.Version)
	}
	return s, nil
}
