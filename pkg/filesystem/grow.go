package filesystem

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrGrow reports that a file system could not be grown to the size of its device.
var ErrGrow = errors.New("file system was not grown")

// growthUnit is the least that a file system is grown by, in bytes: the smallest allocation group that xfs adds is 64 blocks
// of 4 KiB (XFS_MIN_AG_BLOCKS in the kernel's fs/xfs/libxfs/xfs_fs.h), and less is not worth a remount to ext4.
const growthUnit = 64 * 4096

// Smaller tells whether the file system should be grown to use a device of size bytes.
func (s Superblock) Smaller(size int64) bool { return size-s.Size >= growthUnit }

// Grow makes a mounted file system as large as its device, by the file system's own ioctl and without a program. directory
// is an open descriptor (O_PATH suffices) of the root of a mount, device the path of the block device. A mount that is read-only stays
// so, and its file system grows; one whose file system itself is read-only does not. One that has the size is left as it is; a device
// that is smaller than its file system is an error. What is mounted stays usable meanwhile. Errors match [ErrGrow].
func Grow(directory *os.File, device string) error {
	kept, err := keptOptions(device)
	if err == nil {
		err = growAside(directory, device, kept)
	}
	if err != nil {
		return fmt.Errorf("%w: %s on %s: %w", ErrGrow, directory.Name(), device, err)
	}
	return nil
}

// growAside grows a file system through a mount of its own that nobody sees and that can be written to.
func growAside(directory *os.File, device string, kept []mountParameter) error {
	aside, err := unix.OpenTree(int(directory.Fd()), "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("open_tree", err)
	}
	defer func() { _ = unix.Close(aside) }()
	writable := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(aside, "", unix.AT_EMPTY_PATH, &writable); err != nil {
		return os.NewSyscallError("mount_setattr", err)
	}
	_, err = grow(aside, device, kept)
	return err
}

// growDetached grows what is mounted and not attached to a directory yet. It reports whether there was something to grow.
func growDetached(mount int, device string, options MountOptions) (grown bool, err error) {
	var kept []mountParameter
	if slices.Contains(options.parameters, lazytime) {
		kept = append(kept, lazytime)
	}
	if grown, err = grow(mount, device, kept); err != nil {
		return false, fmt.Errorf("%w: %w", ErrGrow, err)
	}
	return grown, nil
}

// lazytime is the option that ext4 takes for withdrawn when another one is changed without it.
var lazytime = mountParameter{key: "lazytime"}

func keptOptions(device string) ([]mountParameter, error) {
	number, err := blockNumber(device)
	if err != nil {
		return nil, err
	}
	mounts, err := mountsOf(number)
	for _, mount := range mounts {
		if slices.Contains(strings.Split(mount.VFSOptions, ","), lazytime.key) {
			return []mountParameter{lazytime}, err
		}
	}
	return nil, err
}

// grow grows the file system whose root a descriptor leads to, and reports whether there was something to grow. kept are
// options that a change of another one would reset.
func grow(mount int, device string, kept []mountParameter) (grown bool, err error) {
	file, err := os.Open(device)
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	size, err := unix.IoctlGetInt(int(file.Fd()), unix.BLKGETSIZE64)
	if err != nil {
		return false, &os.PathError{Op: "BLKGETSIZE64", Path: device, Err: err}
	}
	root, err := openRoot(mount)
	if err != nil {
		return false, err
	}
	defer func() { _ = root.Close() }()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(root.Fd()), &fs); err != nil {
		return false, os.NewSyscallError("statfs", err)
	}
	switch fs.Type {
	case unix.EXT4_SUPER_MAGIC:
		// The kernel's buffer of the superblock is the device's own cache: what is read is what is mounted.
		superblock, err := ReadSuperblock(file)
		if err != nil {
			return false, err
		}
		if superblock.Smaller(int64(size)) && fs.Flags&unix.ST_RDONLY != 0 {
			// Changing an option would make it writable again, also one that the kernel has stopped because of damage.
			return false, fmt.Errorf("it is read-only: %w", unix.EROFS)
		}
		return superblock.Smaller(int64(size)), growExt4(mount, root, superblock, int64(size), kept)
	case unix.XFS_SUPER_MAGIC:
		return growXFS(root, int64(size))
	}
	return false, fmt.Errorf("%w: magic %#x", ErrNoFileSystem, fs.Type)
}

// openRoot opens the directory of a descriptor for ioctls, which one with O_PATH does not take.
func openRoot(mount int) (*os.File, error) {
	fd, err := unix.Openat(mount, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("openat", err)
	}
	return os.NewFile(uintptr(fd), "root of a mount"), nil
}

func shrinks(have, want int64) error {
	return fmt.Errorf("it has %d bytes and its device %d", have, want)
}

// ioctl calls with a pointer to what the kernel reads or fills in.
func ioctl[T any](file *os.File, command uint, name string, argument *T) error {
	//nolint:gosec // converted within the call, as unsafe.Pointer's rules want it
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), uintptr(command), uintptr(unsafe.Pointer(argument))); errno != 0 {
		return os.NewSyscallError(name, errno)
	}
	return nil
}
