package thinpool

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// loopSpace is what the file system below a pool's loop file says. A sparse file is promised more than there is: when the file
// system is full, writes fail that the pool has blocks for, and once those are writes of metadata, the pool fails.
type loopSpace struct {
	known     bool
	size      int64 // of the file, in bytes
	allocated int64 // to the file, in bytes
	free      int64 // for unprivileged users of the file system, in bytes
}

// readLoopSpace asks the file system that holds a file.
func readLoopSpace(path string) (loopSpace, error) {
	var file unix.Stat_t
	if err := unix.Stat(path, &file); err != nil {
		return loopSpace{}, err
	}
	var system unix.Statfs_t
	if err := unix.Statfs(path, &system); err != nil {
		return loopSpace{}, err
	}
	return loopSpace{known: true, size: file.Size, allocated: file.Blocks * 512, free: int64(system.Bavail) * system.Bsize}, nil
}

// lookAtLoop notes how much space there is below a loop file.
func (p *Pool) lookAtLoop() {
	if !p.loopback {
		return
	}
	found, err := readLoopSpace(p.paths[0])
	if err != nil {
		found = loopSpace{} // whatever that means for the pool, its devices will say it
	}
	p.mutex.Lock()
	p.below = found
	p.mutex.Unlock()
}

// freeData is how many data blocks can be written to that are free. The mutex must be held.
func (p *Pool) freeData(status devicemapper.ThinPoolStatus) uint64 {
	free := uint64(status.FreeData())
	if !p.below.known {
		return free
	}
	return min(free, p.below.backs(status, p.label.BlockSectors))
}

// backs is how many more data blocks the file can take: those that the file system has space for, and those that are
// allocated to the file and not in use.
func (l loopSpace) backs(status devicemapper.ThinPoolStatus, block devicemapper.Sectors) uint64 {
	total, used := status.TotalData.Sectors(block).Bytes(), status.UsedData.Sectors(block).Bytes()
	// What is not data counts as allocated in full, so that this errs on the side of too little.
	unused := max(0, l.allocated-used-(l.size-total))
	return uint64((l.free + unused) / block.Bytes())
}

// describe says so if it is the file system and not the pool that is short.
func (l loopSpace) describe(path string) string {
	return fmt.Sprintf("the file system that holds %s has %d bytes left", path, l.free)
}
