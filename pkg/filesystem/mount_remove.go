package filesystem

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// stacked is how many mounts on top of each other are removed at most.
const stacked = 16

// Unmount removes all that is mounted on the directory name in parent, an open descriptor; name is one component. Nothing
// mounted, or nothing there, is success. A symbolic link in its place is not followed. A mount that is in use is EBUSY, in a
// *MountError.
func Unmount(parent *os.File, name string) error {
	// umount(2) takes no descriptor. This path leads through one: its last part alone is still resolved.
	path := fmt.Sprintf("/proc/self/fd/%d/%s", parent.Fd(), name)
	for range stacked {
		err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
		switch {
		case err == nil:
			continue
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			return nil
		}
		return &MountError{Op: "umount", Target: filepath.Join(parent.Name(), name), Err: err}
	}
	return &MountError{Op: "umount", Target: filepath.Join(parent.Name(), name), Err: unix.EBUSY}
}
