package thinmetadata

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// errChanged: the superblock changed while the metadata was read.
var errChanged = errors.New("the metadata changed while it was read")

// HeldRootCommitted tells whether the metadata snapshot that the superblock names was ever committed. The kernel writes the
// superblock with the new held root together with the blocks of the transaction that makes the snapshot, not after them
// (__reserve_metadata_snap in drivers/md/dm-thin-metadata.c). A power cut in between leaves a superblock that names a
// snapshot of which the space map knows nothing: its block may hold anything, and to release it would take from the pool's
// own trees the references that the snapshot never had.
//
// A superblock without a held root is as good as a committed one. The pool may be active.
func HeldRootCommitted(path string) (bool, error) {
	device, err := Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = device.Close() }()
	for range 10 {
		committed, err := device.heldRootCommitted()
		if !errors.Is(err, errChanged) {
			return committed, err
		}
	}
	return false, errChanged
}

func (d *Device) heldRootCommitted() (bool, error) {
	before, after := newBatch(1), newBatch(1)
	if err := d.read(0, before); err != nil {
		return false, err
	}
	s, err := parseSuperblock(&before[0], 0)
	if err != nil || s.HeldRoot == 0 {
		return err == nil, err
	}
	committed, err := d.committed(s)
	if failed := d.read(0, after); failed != nil {
		return false, failed
	}
	if !bytes.Equal(before[0][:], after[0][:]) {
		return false, errChanged
	}
	return committed, err
}

// committed tells whether the block of the held root is in use, and as a metadata snapshot: of one that was never committed it
// is free, until a pool that is active uses it for something else.
func (d *Device) committed(s Superblock) (bool, error) {
	references, err := d.references(s, s.HeldRoot)
	if references == 0 || err != nil {
		return false, err
	}
	_, err = d.ReadSuperblock(s.HeldRoot)
	if errors.Is(err, ErrDamaged) {
		return false, nil
	}
	return err == nil, err
}

// SettleHeldRoot puts the held root of metadata right that no pool has active, durably, where a power cut has left it wrong,
// and tells the old one and the new one. The name of a metadata snapshot that was never committed (HeldRootCommitted) goes.
// That of one which was, and whose release was not, comes back: there the superblock has lost it before the transaction that
// gives up the snapshot's references was durable, and nobody could do so any more. A pool that is active is unix.EBUSY.
func SettleHeldRoot(ctx context.Context, path string) (old, settled uint64, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT|unix.O_EXCL, 0)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	device := &Device{ReaderAt: file}
	s, err := device.ReadSuperblock(0)
	if err != nil {
		return 0, 0, err
	}
	if settled, err = device.settledHeldRoot(ctx, s); err != nil || settled == s.HeldRoot {
		return s.HeldRoot, s.HeldRoot, err
	}
	return s.HeldRoot, settled, changeSuperblock(file, func(block *Block) { binary.LittleEndian.PutUint64(block[fieldHeldRoot:], settled) })
}

// settledHeldRoot is what the superblock's held root has to be.
func (d *Device) settledHeldRoot(ctx context.Context, s Superblock) (uint64, error) {
	if s.HeldRoot != 0 {
		if committed, err := d.committed(s); !committed || err != nil {
			return 0, err
		}
		return s.HeldRoot, nil
	}
	// Only a metadata snapshot refers to the same root as the superblock.
	references, err := d.references(s, s.DetailsRoot)
	if references < 2 || err != nil {
		return 0, err
	}
	return d.findSnapshot(ctx, s)
}

// findSnapshot is the block of the metadata snapshot of the transaction of a superblock, or 0. It may read all of the metadata.
func (d *Device) findSnapshot(ctx context.Context, s Superblock) (uint64, error) {
	memory := newBatch(256)
	for first := uint64(1); first < s.MetadataBlocks; first += uint64(len(memory)) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		blocks := memory[:min(uint64(len(memory)), s.MetadataBlocks-first)]
		if err := d.read(first, blocks); err != nil {
			return 0, err
		}
		for i := range blocks {
			number := first + uint64(i)
			if binary.LittleEndian.Uint64(blocks[i][fieldBlockNumber:]) != number {
				continue
			}
			copied, err := parseSuperblock(&blocks[i], number)
			if err != nil || copied.DetailsRoot != s.DetailsRoot || copied.MappingRoot != s.MappingRoot {
				continue // another kind of block, or an older snapshot's
			}
			if references, err := d.references(s, number); references == 1 || err != nil {
				return number, err
			}
		}
	}
	return 0, nil
}

// changeSuperblock changes a good superblock, durably. All that changes lies in its first sector, so it is old or new.
func changeSuperblock(file *os.File, change func(block *Block)) error {
	memory := newBatch(1)
	if err := (&Device{ReaderAt: file}).read(0, memory); err != nil {
		return err
	}
	block := &memory[0]
	if _, err := parseSuperblock(block, 0); err != nil {
		return err
	}
	change(block)
	binary.LittleEndian.PutUint32(block[:], checksum(block, superblockSalt))
	if _, err := file.WriteAt(block[:], 0); err != nil {
		return fmt.Errorf("write superblock: %w", err)
	}
	return file.Sync()
}
