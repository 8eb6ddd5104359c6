package thinmetadata

import "encoding/binary"

// sectorsPerBlock is the size of a metadata block as the superblock has it, in sectors of 512 bytes.
const sectorsPerBlock = BlockSize / 512

// MakeSuperblock makes a superblock of s, of which NeedsCheck, HeldRoot and UsedDataBlocks are left out. Its space maps are
// empty, so it is for programs that read the trees, as thin_repair does, and nothing for the kernel.
func MakeSuperblock(s Superblock) *Block {
	var block Block
	u32, u64 := binary.LittleEndian.PutUint32, binary.LittleEndian.PutUint64
	u64(block[fieldMagic:], superblockMagic)
	u32(block[fieldVersion:], s.Version)
	u32(block[fieldTime:], s.Time)
	u64(block[fieldTransaction:], s.TransactionID)
	u64(block[fieldDataBlocks:], s.DataBlocks)
	u64(block[fieldMappingRoot:], s.MappingRoot)
	u64(block[fieldDetailsRoot:], s.DetailsRoot)
	u32(block[fieldDataBlockSize:], s.DataBlockSize)
	u32(block[fieldMetadataBlockSz:], sectorsPerBlock)
	u64(block[fieldMetadataBlocks:], s.MetadataBlocks)
	u32(block[:], checksum(&block, superblockSalt))
	return &block
}
