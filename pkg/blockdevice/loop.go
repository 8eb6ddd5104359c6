package blockdevice

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// AttachLoop returns an open loop device on the file at path: the one that is there already, or a new one. The kernel
// detaches it by itself (LO_FLAGS_AUTOCLEAR) once nobody has it open, neither this process nor a table; so nothing is left
// behind whenever the process dies. I/O to the file is direct where the file system can do it, which keeps the pool's data
// out of the page cache a second time. The file is opened for reading and writing and must exist.
func AttachLoop(path string) (*os.File, Description, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, Description{}, err
	}
	defer func() { _ = file.Close() }()
	loop, err := findLoop(file)
	if err == nil && loop == nil {
		loop, err = configureLoop(file, path)
	}
	if err != nil {
		return nil, Description{}, fmt.Errorf("loop device on %s: %w", path, err)
	}
	description, err := describe(loop)
	if err != nil {
		return nil, Description{}, errors.Join(fmt.Errorf("loop device on %s: %w", path, err), loop.Close())
	}
	description.Path, description.Node = loop.Name(), loop.Name()
	return loop, description, nil
}

// findLoop opens the loop device that is attached to the file, or returns nil. It goes by device and inode: the path that
// the kernel reports may be one of another mount namespace.
func findLoop(file *os.File) (*os.File, error) {
	var want unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &want); err != nil {
		return nil, err
	}
	attached, err := filepath.Glob("/sys/block/loop*/loop")
	if err != nil {
		return nil, err
	}
	for _, directory := range attached {
		loop, err := os.OpenFile("/dev/"+filepath.Base(filepath.Dir(directory)), os.O_RDWR, 0)
		if err != nil {
			continue // detached since, or not ours to open
		}
		status, err := unix.IoctlLoopGetStatus64(int(loop.Fd()))
		if err == nil && status.Inode == want.Ino && sameDevice(status.Device, want.Dev) {
			return loop, nil
		}
		_ = loop.Close()
	}
	return nil, nil
}

// sameDevice compares the lo_device of a loop device, which the kernel gives in its own 32-bit form of a device number
// (huge_encode_dev in include/linux/kdev_t.h, the form of stat(2) as well), with a st_dev.
func sameDevice(loop, stat uint64) bool {
	return unix.Major(loop) == unix.Major(stat) && unix.Minor(loop) == unix.Minor(stat)
}

// attempts is how often another process may be quicker to take the loop device that was free.
const attempts = 64

func configureLoop(file *os.File, path string) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = control.Close() }()
	for range attempts {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		loop, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", number), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(file.Fd())}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
		copy(config.Info.File_name[:len(config.Info.File_name)-1], path)
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
		if err == nil {
			return loop, nil
		}
		err = errors.Join(err, loop.Close())
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("attach %s: %w", loop.Name(), err)
		}
	}
	return nil, fmt.Errorf("no free loop device in %d attempts: %w", attempts, unix.EBUSY)
}
