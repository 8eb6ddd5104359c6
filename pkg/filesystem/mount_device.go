package filesystem

import (
	"fmt"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// DevicePlace is what a file stands for on which the node of a block device may have been bound (see [Bind]).
type DevicePlace struct {
	// Mounted: something is mounted on the file.
	Mounted bool
	// Block: it is the node of a block device, and these are the device's numbers.
	Block        bool
	Major, Minor uint32
}

// InspectDevice tells what is mounted on an open file that is no directory.
func InspectDevice(file *os.File) (DevicePlace, error) {
	var status unix.Statx_t
	if err := unix.Statx(int(file.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &status); err != nil {
		return DevicePlace{}, &os.PathError{Op: "statx", Path: file.Name(), Err: err}
	}
	place := DevicePlace{Mounted: status.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, Block: status.Mode&unix.S_IFMT == unix.S_IFBLK}
	if place.Block {
		place.Major, place.Minor = status.Rdev_major, status.Rdev_minor
	}
	return place, nil
}

// DevicePlaces lists the files, in this process's mount namespace, on which the node of the block device at path (/dev/NAME) is
// bound, whoever did that.
func DevicePlaces(path string) ([]string, error) {
	number, err := blockNumber(path)
	if err != nil {
		return nil, err
	}
	// The root of such a mount is the node's path in its own file system, with a mark at its end once the node is gone.
	node := path[strings.LastIndexByte(path, '/'):]
	mounts, err := mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) {
		return !strings.HasSuffix(strings.TrimSuffix(info.Root, "//deleted"), node), false
	})
	if err != nil {
		return nil, err
	}
	var places []string
	for _, mount := range mounts {
		is, err := isDevice(mount.Mountpoint, number)
		if err != nil {
			return nil, err
		}
		if is {
			places = append(places, mount.Mountpoint)
		}
	}
	return places, nil
}

// isDevice tells whether a path is a node of the block device. One that has gone meanwhile is none.
func isDevice(path string, number uint64) (bool, error) {
	var status unix.Stat_t
	switch err := unix.Lstat(path, &status); err {
	case nil:
		return status.Mode&unix.S_IFMT == unix.S_IFBLK && status.Rdev == number, nil
	case unix.ENOENT, unix.ENOTDIR:
		return false, nil
	default:
		return false, fmt.Errorf("lstat %s: %w", path, err)
	}
}
