package filesystem

import (
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// MountPoint is what is mounted on a directory.
type MountPoint struct {
	// Mounted: the directory is the root of a mount. If not, the other fields are zero.
	Mounted bool
	// ID of the mount in this process's mount namespace (field 1 of /proc/self/mountinfo).
	ID int
	// Device number of the file system, for a block device that device's.
	Major, Minor uint32
	// ReadOnly: writes through this mount are refused, whatever the file system behind it is.
	ReadOnly bool
}

// Inspect tells what is mounted on an open directory. It asks the kernel about that directory alone (statx(2) since Linux
// 5.8), however many mounts there are.
func Inspect(directory *os.File) (MountPoint, error) {
	var status unix.Statx_t
	if err := unix.Statx(int(directory.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &status); err != nil {
		return MountPoint{}, &os.PathError{Op: "statx", Path: directory.Name(), Err: err}
	}
	if status.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return MountPoint{}, nil
	}
	readOnly, err := mountIsReadOnly(directory, int(status.Mnt_id))
	if err != nil {
		return MountPoint{}, err
	}
	return MountPoint{Mounted: true, ID: int(status.Mnt_id), Major: status.Dev_major, Minor: status.Dev_minor, ReadOnly: readOnly}, nil
}

// mountIsReadOnly reads the list of mounts only if it must: statfs(2) says "read-only" also where the file system is, for
// example because the kernel found damage.
func mountIsReadOnly(directory *os.File, mountID int) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(directory.Fd()), &fs); err != nil {
		return false, &os.PathError{Op: "statfs", Path: directory.Name(), Err: err}
	}
	if fs.Flags&unix.ST_RDONLY == 0 {
		return false, nil
	}
	mounts, err := mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) {
		return info.ID != mountID, info.ID == mountID
	})
	if err != nil || len(mounts) == 0 {
		return false, err
	}
	return slices.Contains(strings.Split(mounts[0].Options, ","), "ro"), nil
}

// IsDevice tells whether the file system of the mount is on the block device at path.
func (m MountPoint) IsDevice(path string) (bool, error) {
	var status unix.Stat_t
	if err := unix.Stat(path, &status); err != nil {
		return false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return m.Mounted && status.Mode&unix.S_IFMT == unix.S_IFBLK &&
		unix.Major(status.Rdev) == m.Major && unix.Minor(status.Rdev) == m.Minor, nil
}

// OtherMounts are the places, in this process's mount namespace, where the file system of the mount is mounted besides.
func (m MountPoint) OtherMounts() ([]string, error) {
	mounts, err := mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) {
		return info.ID == m.ID || uint32(info.Major) != m.Major || uint32(info.Minor) != m.Minor, false
	})
	if err != nil {
		return nil, err
	}
	places := make([]string, 0, len(mounts))
	for _, mount := range mounts {
		places = append(places, mount.Mountpoint)
	}
	return places, nil
}
