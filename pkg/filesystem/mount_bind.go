package filesystem

import (
	"os"

	"golang.org/x/sys/unix"
)

// Bind shows source at target as well: two directories, or the node of a device and a file, both open descriptors. A
// read-only one is so from the first moment: the attribute is set before the mount appears. To a device that says nothing, see
// blockdevice.SetReadOnly. Errors are a *MountError.
func Bind(source, target *os.File, readOnly bool) error {
	fail := func(op string, err error) error {
		return &MountError{Op: op, Target: target.Name(), Err: err}
	}
	mount, err := unix.OpenTree(int(source.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return fail("open_tree", err)
	}
	defer func() { _ = unix.Close(mount) }()
	if readOnly {
		attributes := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, &attributes); err != nil {
			return fail("mount_setattr", err)
		}
	}
	if err := attach(mount, target); err != nil {
		return fail("move_mount", err)
	}
	return nil
}
