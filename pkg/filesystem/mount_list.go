package filesystem

import (
	"strings"

	"github.com/moby/sys/mountinfo"
)

// DeviceNumber is a device's number as the kernel prints it.
type DeviceNumber struct{ Major, Minor uint32 }

// MountedBelow lists the file systems that are mounted below a directory, in this process's mount namespace, each with one
// place where it is.
func MountedBelow(directory string) (map[DeviceNumber]string, error) {
	places := map[DeviceNumber]string{}
	_, err := mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) {
		number := DeviceNumber{uint32(info.Major), uint32(info.Minor)}
		if _, known := places[number]; !known && strings.HasPrefix(info.Mountpoint, strings.TrimSuffix(directory, "/")+"/") {
			places[number] = info.Mountpoint
		}
		return true, false
	})
	return places, err
}
