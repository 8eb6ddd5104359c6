package blockdevice

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// ByNumber describes the block device of a number. Its node is the one that the kernel makes in devtmpfs, whatever links
// udev or LVM may have added. ErrNotExist: there is no such device.
func ByNumber(number Number) (Description, error) {
	directory := fmt.Sprintf("/sys/dev/block/%d:%d", number.Major, number.Minor)
	uevent, err := os.ReadFile(directory + "/uevent")
	if errors.Is(err, fs.ErrNotExist) {
		return Description{}, fmt.Errorf("%d:%d: %w", number.Major, number.Minor, ErrNotExist)
	}
	if err != nil {
		return Description{}, err
	}
	// "DEVNAME=" and a path below /dev (block_uevent and dev_uevent in the kernel's block/genhd.c and drivers/base/core.c).
	for lines := bufio.NewScanner(bytes.NewReader(uevent)); lines.Scan(); {
		name, found := strings.CutPrefix(lines.Text(), "DEVNAME=")
		if !found {
			continue
		}
		description, err := Stat("/dev/" + name)
		if err == nil && description.Number != number {
			err = fmt.Errorf("%s has the number %d:%d, not %d:%d: %w", description.Path, description.Number.Major, description.Number.Minor, number.Major, number.Minor, ErrNotExist)
		}
		return description, err
	}
	return Description{}, fmt.Errorf("%s/uevent names no device: %w", directory, ErrNotExist)
}
