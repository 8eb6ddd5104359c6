package filesystem

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Trouble is what the kernel has noted of a mounted file system.
type Trouble struct {
	// Errors is how many errors it has met, in all mounts since the last check (ext4 only).
	Errors int64
	// ShutDown: it gives nothing but errors until it is mounted anew (xfs only).
	ShutDown bool
}

// ReadTrouble asks the kernel of the file system on the device (/dev/dm-N) that is mounted on path. It reads nothing from the
// device, so one that does not answer does not keep it waiting. What is not mounted has no trouble.
func ReadTrouble(t Type, device, path string) (Trouble, error) {
	if t == Ext4 {
		count, err := readErrorCount("/sys/fs/ext4", device)
		return Trouble{Errors: count}, err
	}
	// An xfs that is shut down refuses even the attributes that it has in memory (xfs_vn_getattr in fs/xfs/xfs_iops.c). The
	// path is not opened: an open descriptor would keep it from being unmounted.
	var status unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS, &status)
	switch {
	case errors.Is(err, unix.EIO):
		return Trouble{ShutDown: true}, nil
	case err == nil, errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return Trouble{}, nil
	}
	return Trouble{}, &os.PathError{Op: "statx", Path: path, Err: err}
}

// readErrorCount reads ext4's count below root, which has a directory for each mounted file system, named for its device.
func readErrorCount(root, device string) (int64, error) {
	path := filepath.Join(root, filepath.Base(device), "errors_count")
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	count, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return count, nil
}
