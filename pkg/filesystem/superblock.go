package filesystem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrNoFileSystem says that a device does not begin with a superblock of a supported type.
var ErrNoFileSystem = errors.New("no file system of a supported type")

// Superblock is what a file system says of itself at the beginning of its device.
type Superblock struct {
	Type Type
	UUID [16]byte
	// Size in bytes: what it was made with or last grown to.
	Size      int64
	BlockSize int
	// Errors: the kernel noted damage (ext4 only); it wants a check.
	Errors bool
	// NeedsRecovery: it was not unmounted, and the next mount replays the journal (ext4 only; xfs keeps that in its log).
	NeedsRecovery bool
}

// superblockArea is how many bytes at the beginning of a device hold what is read here.
const superblockArea = 4096

// Fields of struct ext4_super_block (the kernel's fs/ext4/ext4.h), which is little-endian and begins at byte 1024.
const (
	ext4Offset         = 1024
	ext4BlocksLow      = 0x04
	ext4LogBlockSize   = 0x18
	ext4Magic          = 0x38
	ext4State          = 0x3a
	ext4Incompatible   = 0x60
	ext4UUID           = 0x68
	ext4BlocksHigh     = 0x150
	ext4MagicValue     = 0xef53
	ext4StateErrors    = 0x0002
	ext4Has64Bit       = 0x0080
	ext4HasRecover     = 0x0004
	ext4LargestLogSize = 6 // 64 KiB
)

// Fields of struct xfs_dsb (fs/xfs/libxfs/xfs_format.h), which is big-endian and begins at byte 0.
const (
	xfsMagicValue = "XFSB"
	xfsBlockSize  = 4
	xfsDataBlocks = 8
	xfsUUID       = 32
)

// ReadSuperblock reads the superblock of the device. What is there but no supported file system, or none that can be
// right, is ErrNoFileSystem.
func ReadSuperblock(device io.ReaderAt) (Superblock, error) {
	area := make([]byte, superblockArea)
	if _, err := device.ReadAt(area, 0); err != nil {
		return Superblock{}, fmt.Errorf("read superblock: %w", err)
	}
	return parseSuperblock(area)
}

func parseSuperblock(area []byte) (Superblock, error) {
	switch {
	case string(area[:4]) == xfsMagicValue:
		return parseXFS(area)
	case binary.LittleEndian.Uint16(area[ext4Offset+ext4Magic:]) == ext4MagicValue:
		return parseExt4(area[ext4Offset:])
	}
	return Superblock{}, ErrNoFileSystem
}

func parseExt4(raw []byte) (Superblock, error) {
	logSize := binary.LittleEndian.Uint32(raw[ext4LogBlockSize:])
	if logSize > ext4LargestLogSize {
		return Superblock{}, fmt.Errorf("%w: ext4 block size 2^%d", ErrNoFileSystem, uint64(logSize)+10)
	}
	incompatible := binary.LittleEndian.Uint32(raw[ext4Incompatible:])
	blocks := uint64(binary.LittleEndian.Uint32(raw[ext4BlocksLow:]))
	if incompatible&ext4Has64Bit != 0 {
		blocks |= uint64(binary.LittleEndian.Uint32(raw[ext4BlocksHigh:])) << 32
	}
	s := Superblock{
		Type: Ext4, BlockSize: 1024 << logSize,
		Errors:        binary.LittleEndian.Uint16(raw[ext4State:])&ext4StateErrors != 0,
		NeedsRecovery: incompatible&ext4HasRecover != 0,
	}
	copy(s.UUID[:], raw[ext4UUID:])
	return s.sized(blocks)
}

func parseXFS(raw []byte) (Superblock, error) {
	s := Superblock{Type: XFS, BlockSize: int(binary.BigEndian.Uint32(raw[xfsBlockSize:]))}
	if s.BlockSize < 512 || s.BlockSize > 64<<10 {
		return Superblock{}, fmt.Errorf("%w: xfs block size %d", ErrNoFileSystem, s.BlockSize)
	}
	copy(s.UUID[:], raw[xfsUUID:])
	return s.sized(binary.BigEndian.Uint64(raw[xfsDataBlocks:]))
}

func (s Superblock) sized(blocks uint64) (Superblock, error) {
	if blocks == 0 || blocks > (1<<62)/uint64(s.BlockSize) {
		return Superblock{}, fmt.Errorf("%w: %s of %d blocks", ErrNoFileSystem, s.Type, blocks)
	}
	s.Size = int64(blocks) * int64(s.BlockSize)
	return s, nil
}
