package trim

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/confinedpath"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// openMount opens, for reading, the root of a mount of the block device that is below kubelet's directory and can be written to:
// errNotMounted if there is none.
func openMount(device string, kubelet *confinedpath.Root) (*os.File, error) {
	var status unix.Stat_t
	if err := unix.Stat(device, &status); err != nil {
		return nil, &os.PathError{Op: "stat", Path: device, Err: err}
	}
	mounts, err := mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) {
		writable := !slices.Contains(strings.Split(info.Options, ","), "ro") && !slices.Contains(strings.Split(info.VFSOptions, ","), "ro")
		here := uint32(info.Major) == unix.Major(status.Rdev) && uint32(info.Minor) == unix.Minor(status.Rdev) &&
			info.Root == "/" && kubelet.Check(info.Mountpoint) == nil
		return !here || !writable, here && writable
	})
	if err != nil {
		return nil, err
	}
	if len(mounts) == 0 {
		return nil, errNotMounted
	}
	place, err := kubelet.Open(mounts[0].Mountpoint)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotMounted, err) // it went, or something covers it
	}
	defer func() { _ = place.Close() }()
	point, err := filesystem.Inspect(place)
	if err != nil {
		return nil, err
	}
	if here, err := point.IsDevice(device); err != nil || !here {
		return nil, fmt.Errorf("%w: %s is another mount", errNotMounted, mounts[0].Mountpoint)
	}
	fd, err := unix.Openat(int(place.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: mounts[0].Mountpoint, Err: err}
	}
	return os.NewFile(uintptr(fd), mounts[0].Mountpoint), nil
}
