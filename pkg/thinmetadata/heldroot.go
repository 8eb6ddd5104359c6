package thinmetadata

import (
	"bytes"
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
	allocated, err := d.Allocated(s, s.HeldRoot)
	if failed := d.read(0, after); failed != nil {
		return false, failed
	}
	if !bytes.Equal(before[0][:], after[0][:]) {
		return false, errChanged
	}
	return allocated, err
}

// DropUncommittedSnapshot takes the held root out of the superblock of metadata that no pool has active, durably, where its
// snapshot was never committed (HeldRootCommitted). What is left is the transaction before. A pool that is active is
// unix.EBUSY.
func DropUncommittedSnapshot(path string) (dropped bool, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT|unix.O_EXCL, 0)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	device := &Device{ReaderAt: file}
	if committed, err := device.heldRootCommitted(); committed || err != nil {
		return false, err
	}
	return true, changeSuperblock(file, func(block *Block) { binary.LittleEndian.PutUint64(block[fieldHeldRoot:], 0) })
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
