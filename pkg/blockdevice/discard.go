package blockdevice

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Discard tells a block device that the length bytes from offset on are not needed any more (BLKDISCARD); what they read as
// afterwards is the device's choice. Both are multiples of the device's logical sectors. It returns when the device has
// taken the discard; the kernel cannot be made to give up one that has begun. A device that cannot discard is
// unix.EOPNOTSUPP.
func Discard(device *os.File, offset, length int64) error {
	span := [2]uint64{uint64(offset), uint64(length)}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, device.Fd(), unix.BLKDISCARD, uintptr(unsafe.Pointer(&span))); errno != 0 { //nolint:gosec // BLKDISCARD takes a pointer
		return fmt.Errorf("discard %d bytes at %d of %s: %w", length, offset, device.Name(), errno)
	}
	return nil
}
