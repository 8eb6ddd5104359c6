package blockdevice

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ForgetPartitions has the kernel read the device's partition table again, so that partitions whose table was erased are
// gone. A device that has none by its nature (a partition, a loop device, one of device mapper) is no error; nor is one that
// somebody has opened exclusively since: its partitions stay known until the next time.
func ForgetPartitions(path string) error {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	err = unix.IoctlSetInt(int(file.Fd()), unix.BLKRRPART, 0)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("read partition table of %s: %w", path, err)
	}
	return nil
}
