package blockdevice

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// What can be wrong with a path that should lead to a block device, for errors.Is.
var (
	// ErrNotExist: nothing is there, or it is a node without a device behind it.
	ErrNotExist = errors.New("block device does not exist")
	// ErrNotBlockDevice: the path leads to something else.
	ErrNotBlockDevice = errors.New("not a block device")
	// ErrInUse: the kernel holds the device for another use (a mount, a volume group, a device-mapper table, swap).
	ErrInUse = errors.New("block device is in use")
)

// Number names a block device by its major and minor number.
type Number struct{ Major, Minor uint32 }

// Description is a block device as it was found.
type Description struct {
	// Path that was asked for.
	Path string
	// Node that the path leads to through symbolic links.
	Node string
	// Number of the device.
	Number Number
	// Size in bytes.
	Size int64
	// Size of a logical block in bytes: the smallest piece that can be written.
	LogicalBlockSize int
}

// Stat describes the block device that path leads to.
func Stat(path string) (Description, error) {
	file, description, err := open(path, os.O_RDONLY)
	if err != nil {
		return Description{}, err
	}
	return description, file.Close()
}

// Open opens the block device that path leads to for reading, writing and exclusive use; ErrInUse says that somebody else
// has it. While it is open no file system can be mounted from it and no table can take it.
func Open(path string) (*os.File, Description, error) { return open(path, os.O_RDWR|os.O_EXCL) }

func open(path string, flags int) (*os.File, Description, error) {
	if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
		return nil, Description{}, fmt.Errorf("%w: %q is not an absolute path", ErrNotBlockDevice, path)
	}
	node, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, Description{}, absent(path, err)
	}
	// A look before the open: opening a terminal or a pipe would do things.
	if err := requireBlockDevice(node); err != nil {
		return nil, Description{}, absent(path, err)
	}
	file, err := os.OpenFile(node, flags|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, Description{}, absent(path, err)
	}
	description, err := describe(file)
	if err != nil {
		return nil, Description{}, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	description.Path, description.Node = path, node
	return file, description, nil
}

func requireBlockDevice(node string) error {
	info, err := os.Stat(node)
	if err != nil {
		return err
	}
	if info.Mode().Type()&(fs.ModeDevice|fs.ModeCharDevice) != fs.ModeDevice {
		return ErrNotBlockDevice
	}
	return nil
}

func describe(file *os.File) (Description, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return Description{}, err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return Description{}, ErrNotBlockDevice
	}
	size, err := unix.Seek(int(file.Fd()), 0, unix.SEEK_END)
	if err != nil {
		return Description{}, err
	}
	logical, err := unix.IoctlGetInt(int(file.Fd()), unix.BLKSSZGET)
	if err != nil {
		return Description{}, err
	}
	return Description{Number: Number{unix.Major(stat.Rdev), unix.Minor(stat.Rdev)}, Size: size, LogicalBlockSize: logical}, nil
}

func absent(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%s: %w: %w", path, ErrNotExist, err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%s: %w: %w", path, ErrInUse, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}
