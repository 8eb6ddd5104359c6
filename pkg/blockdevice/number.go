package blockdevice

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ByNumber describes the block device of a number. Its node is the one that the kernel makes in devtmpfs, whatever links
// udev or LVM may have added. ErrNotExist: there is no such device.
func ByNumber(number Number) (Description, error) {
	device, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", number.Major, number.Minor))
	if errors.Is(err, fs.ErrNotExist) {
		return Description{}, fmt.Errorf("%d:%d: %w", number.Major, number.Minor, ErrNotExist)
	}
	if err != nil {
		return Description{}, err
	}
	// sysfs writes "!" for the "/" of a node in a directory of its own (device_get_devnode in the kernel's drivers/base/core.c).
	description, err := Stat("/dev/" + strings.ReplaceAll(filepath.Base(device), "!", "/"))
	if err == nil && description.Number != number {
		err = fmt.Errorf("%s has the number %d:%d, not %d:%d: %w", description.Path, description.Number.Major, description.Number.Minor, number.Major, number.Minor, ErrNotExist)
	}
	return description, err
}
