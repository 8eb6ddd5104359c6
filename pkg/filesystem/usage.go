package filesystem

import (
	"os"

	"golang.org/x/sys/unix"
)

// Usage is how full a file system is, in bytes and in inodes.
type Usage struct {
	TotalBytes, UsedBytes, AvailableBytes    int64
	TotalInodes, UsedInodes, AvailableInodes int64
}

// ReadUsage asks the file system that an open directory lies on. Available is what remains to an ordinary user, which is
// less than total minus used where blocks are reserved.
func ReadUsage(directory *os.File) (Usage, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(directory.Fd()), &fs); err != nil {
		return Usage{}, &os.PathError{Op: "statfs", Path: directory.Name(), Err: err}
	}
	unit := fs.Frsize
	if unit == 0 {
		unit = fs.Bsize
	}
	return Usage{
		TotalBytes: int64(fs.Blocks) * unit, UsedBytes: int64(fs.Blocks-fs.Bfree) * unit, AvailableBytes: int64(fs.Bavail) * unit,
		TotalInodes: int64(fs.Files), UsedInodes: int64(fs.Files - fs.Ffree), AvailableInodes: int64(fs.Ffree),
	}, nil
}
