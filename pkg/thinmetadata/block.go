package thinmetadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// BlockSize is the size of a metadata block in bytes (THIN_METADATA_BLOCK_SIZE).
const BlockSize = 4096

// maximumBlocks is how many blocks of metadata the kernel uses at most: 15.87 GiB (DM_SM_METADATA_MAX_BLOCKS).
const maximumBlocks = 255 * (1<<14 - 64)

// ErrDamaged says that a block is not what it must be.
var ErrDamaged = errors.New("thin-pool metadata is damaged")

// The kernel mixes a constant of the kind of block into its checksum, so that a block of one kind is never taken for one
// of another (SUPERBLOCK_CSUM_XOR, BTREE_CSUM_XOR).
const (
	superblockSalt = 160774
	btreeSalt      = 121107
)

// Block is one block of metadata.
type Block = [BlockSize]byte

// Device is metadata that can be read in blocks. Its methods may be called concurrently.
type Device struct {
	io.ReaderAt
	closer io.Closer
}

// Open opens a metadata device for reading past the page cache.
func Open(path string) (*Device, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil, err
	}
	return &Device{ReaderAt: file, closer: file}, nil
}

// Close closes the device.
func (d *Device) Close() error {
	if d.closer == nil {
		return nil
	}
	return d.closer.Close()
}

// read fills blocks with those from number on.
func (d *Device) read(number uint64, blocks []Block) error {
	if number >= maximumBlocks {
		return fmt.Errorf("%w: block %d is out of bounds", ErrDamaged, number)
	}
	_, err := d.ReadAt(bytesOf(blocks), int64(number)*BlockSize)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: block %d lies behind the end of the device", ErrDamaged, number)
	}
	if err != nil {
		return fmt.Errorf("read metadata block %d: %w", number, err)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is what the kernel stores in a block's first four bytes: the CRC of the rest, not inverted at the end, and the
// salt (dm_bm_checksum).
func checksum(block *Block, salt uint32) uint32 {
	return ^crc32.Checksum(block[4:], castagnoli) ^ salt
}

func verify(block *Block, number uint64, salt uint32, at int) error {
	if stored, want := binary.LittleEndian.Uint32(block[:]), checksum(block, salt); stored != want {
		return fmt.Errorf("%w: block %d has checksum %08x instead of %08x", ErrDamaged, number, stored, want)
	}
	if own := binary.LittleEndian.Uint64(block[at:]); own != number {
		return fmt.Errorf("%w: block %d says it is block %d", ErrDamaged, number, own)
	}
	return nil
}
