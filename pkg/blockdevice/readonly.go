package blockdevice

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// SetReadOnly makes the kernel refuse writes to an open block device, or take them again (BLKROSET). It counts for everybody
// who writes from then on, through whatever node and also through a file that was opened before; before Linux 6.5 one who
// maps the device into memory is not refused. It is forgotten with the device.
func SetReadOnly(device *os.File, readOnly bool) error {
	value := 0
	if readOnly {
		value = 1
	}
	if err := unix.IoctlSetPointerInt(int(device.Fd()), unix.BLKROSET, value); err != nil {
		return fmt.Errorf("set read-only of %s to %t: %w", device.Name(), readOnly, err)
	}
	return nil
}

// ReadOnly tells whether the kernel refuses writes to an open block device (BLKROGET).
func ReadOnly(device *os.File) (bool, error) {
	value, err := unix.IoctlGetInt(int(device.Fd()), unix.BLKROGET)
	if err != nil {
		return false, fmt.Errorf("read-only of %s: %w", device.Name(), err)
	}
	return value != 0, nil
}

// NumberOf is the number of the block device that an open file stands for; ErrNotBlockDevice if it is none. The file may have
// been opened for use as a place only (O_PATH).
func NumberOf(file *os.File) (Number, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return Number{}, &os.PathError{Op: "fstat", Path: file.Name(), Err: err}
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return Number{}, fmt.Errorf("%s: %w", file.Name(), ErrNotBlockDevice)
	}
	return Number{unix.Major(stat.Rdev), unix.Minor(stat.Rdev)}, nil
}
