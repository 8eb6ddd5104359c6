package filesystem

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrTrimEnd says that the file system ends before the place from which on it was to discard.
var ErrTrimEnd = errors.New("the file system ends before")

// trimRange is struct fstrim_range of the kernel's linux/fs.h: bytes of the file system's own space. A least length of a run that is 0
// stands for what the device can discard at all.
type trimRange struct{ start, length, minimum uint64 }

// ioctlTrim is FITRIM, _IOWR('X', 121, struct fstrim_range), as amd64, arm64 and most others number it.
const ioctlTrim = 3<<30 | unsafe.Sizeof(trimRange{})<<16 | 'X'<<8 | 121

// Trim has the file system that an open directory lies on discard what is free of the length bytes from start on. The directory must
// be opened for reading. A start behind the file system's end is ErrTrimEnd; a device that cannot discard is unix.EOPNOTSUPP, a
// file system or mount that is read-only unix.EROFS. It returns when the discards are done and cannot be interrupted: length bounds how
// long that takes.
func Trim(directory *os.File, start, length int64) error {
	fail := func(err error) error { return &os.PathError{Op: "trim", Path: directory.Name(), Err: err} }
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(directory.Fd()), &fs); err != nil {
		return fail(err)
	}
	if fs.Flags&unix.ST_RDONLY != 0 {
		return fail(unix.EROFS)
	}
	span := trimRange{start: uint64(start), length: uint64(length)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, directory.Fd(), ioctlTrim, uintptr(unsafe.Pointer(&span))) //nolint:gosec // FITRIM takes a pointer
	if errno == unix.EINVAL && start > 0 {
		return fail(fmt.Errorf("%w: byte %d", ErrTrimEnd, start))
	}
	if errno != 0 {
		return fail(errno)
	}
	return nil
}
