package filesystem

import (
	"errors"
	"fmt"
	"os"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// ErrSync reports that what was written to a file system, or to a block device, could not be brought to the disk.
var ErrSync = errors.New("writing out failed")

// Sync writes out what the kernel holds in memory for the block device at path: through the file system that is mounted from
// it (syncfs(2)), or the device's own cache where this process's mount namespace has no mount of it (fsync(2)). Writes of
// somebody else that failed in the background, and that nobody was told of yet, are reported too, once (Linux 5.8).
//
// Errors of the writing match [ErrSync] and the kernel's errno. It takes as long as the disk does.
func Sync(path string) error {
	number, err := blockNumber(path)
	if err != nil {
		return err
	}
	for {
		places, err := mountsOf(number)
		if err != nil {
			return err
		}
		if len(places) == 0 {
			return syncDevice(path)
		}
		file, err := openOn(places, number)
		if errors.Is(err, os.ErrNotExist) {
			continue // all were unmounted since the list was read
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrSync, path, err)
		}
		err = unix.Syncfs(int(file.Fd()))
		_ = file.Close()
		if err != nil {
			return fmt.Errorf("%w: syncfs %s, mounted from %s: %w", ErrSync, file.Name(), path, err)
		}
		return nil
	}
}

// Mounted tells whether the file system of the block device at path is mounted in this process's mount namespace.
func Mounted(path string) (bool, error) {
	number, err := blockNumber(path)
	if err != nil {
		return false, err
	}
	places, err := mountsOf(number)
	return len(places) > 0, err
}

func blockNumber(path string) (uint64, error) {
	var status unix.Stat_t
	if err := unix.Stat(path, &status); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if status.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, fmt.Errorf("%s is not a block device", path)
	}
	return status.Rdev, nil
}

// mountsOf lists where the file system of a block device is mounted.
func mountsOf(number uint64) ([]*mountinfo.Info, error) {
	major, minor := int(unix.Major(number)), int(unix.Minor(number))
	return mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) {
		return info.Major != major || info.Minor != minor, false
	})
}

// openOn opens the first of the places that leads to the file system of a block device. One may be hidden by another mount on
// top, or be gone: os.ErrNotExist if all of them are.
func openOn(places []*mountinfo.Info, number uint64) (*os.File, error) {
	var hidden error
	for _, place := range places {
		file, err := openMount(place.Mountpoint, number)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			hidden = err
		}
	}
	if hidden != nil {
		// Only if one that could not be opened is still there: the others have been unmounted.
		if left, err := mountsOf(number); err != nil || len(left) > 0 {
			return nil, errors.Join(hidden, err)
		}
	}
	return nil, os.ErrNotExist
}

// openMount opens a mount point without following symbolic links, which the kernel's list does not contain. It looks before
// it opens: what is mounted may be a single file, and opening a pipe or a device would do things.
func openMount(place string, number uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, place, &how)
	if err != nil {
		return nil, &os.PathError{Op: "openat2", Path: place, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var status unix.Stat_t
	if err := unix.Fstat(fd, &status); err != nil {
		return nil, &os.PathError{Op: "fstat", Path: place, Err: err}
	}
	kind := status.Mode & unix.S_IFMT
	if status.Dev != number || kind != unix.S_IFDIR && kind != unix.S_IFREG {
		return nil, fmt.Errorf("%s is hidden by another mount", place)
	}
	readable, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: place, Err: err}
	}
	return os.NewFile(uintptr(readable), place), nil
}

func syncDevice(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := file.Sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrSync, err)
	}
	return nil
}
