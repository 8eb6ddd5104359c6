package thinmetadata

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// SetTime changes the Time of the superblock of metadata that no pool has active, durably. It is for metadata that was
// rebuilt without its old superblock: the time must not fall behind one that a device or a mapping carries.
func SetTime(path string, time uint32) (err error) {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT|unix.O_EXCL, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return changeSuperblock(file, func(block *Block) { binary.LittleEndian.PutUint32(block[fieldTime:], time) })
}
