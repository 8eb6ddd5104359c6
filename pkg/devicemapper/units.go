package devicemapper

import "math"

// SectorSize is the size of a sector in bytes. Device mapper counts in units
// of 512 bytes whatever the logical block size of the device below
// (SECTOR_SHIFT in the kernel's include/linux/blk_types.h).
const SectorSize = 512

// MetadataBlockSize is the size in bytes of a block of thin-pool metadata
// (THIN_METADATA_BLOCK_SIZE, 8 sectors, in the kernel's
// drivers/md/dm-thin-metadata.h).
const MetadataBlockSize = 4096

// Sectors is a length, or an offset, in units of 512 bytes.
type Sectors uint64

// MaxSectors is the largest count of sectors whose size in bytes fits an
// int64, the type of a file offset.
const MaxSectors Sectors = math.MaxInt64 / SectorSize

// Bytes returns the length in bytes. It is exact up to MaxSectors.
func (s Sectors) Bytes() int64 { return int64(s) * SectorSize }

// SectorsOf converts bytes to sectors, rounding down to a whole sector.
// A negative size is no sectors.
func SectorsOf(bytes int64) Sectors {
	if bytes < 0 {
		return 0
	}
	return Sectors(bytes / SectorSize)
}

// DataBlocks is a count of a thin pool's data blocks. How large one is was
// fixed when the pool was made: ThinPool.BlockSectors.
type DataBlocks uint64

// Sectors returns the length of this many data blocks of blockSectors each.
func (b DataBlocks) Sectors(blockSectors Sectors) Sectors { return Sectors(b) * blockSectors }

// MetadataBlocks is a count, or a block address, of thin-pool metadata in
// units of MetadataBlockSize.
type MetadataBlocks uint64

// Bytes returns the length in bytes.
func (b MetadataBlocks) Bytes() int64 { return int64(b) * MetadataBlockSize }
