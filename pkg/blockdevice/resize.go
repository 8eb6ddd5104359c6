package blockdevice

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sectorSize is the unit of sizes in sysfs, in bytes, whatever the device's logical blocks are (Documentation/ABI/stable/
// sysfs-block).
const sectorSize = 512

// Size returns how large a device is now, in bytes, without opening it: to open a device for a look wakes it up, and who
// watches it. ErrNotExist says that there is none.
func Size(number Number) (int64, error) {
	path := fmt.Sprintf("/sys/dev/block/%d:%d/size", number.Major, number.Minor)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, absent(path, err)
	}
	sectors, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || sectors < 0 {
		return 0, fmt.Errorf("%s: %q is no size", path, text)
	}
	return sectors * sectorSize, nil
}

// RefreshLoop makes an open loop device as large as the file behind it has become (LOOP_SET_CAPACITY, loop(4)), and returns
// that size in bytes. I/O goes on meanwhile.
func RefreshLoop(loop *os.File) (int64, error) {
	if err := unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return 0, fmt.Errorf("size of %s: %w", loop.Name(), err)
	}
	description, err := describe(loop)
	return description.Size, err
}
