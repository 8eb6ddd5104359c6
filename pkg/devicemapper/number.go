package devicemapper

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernel keeps a device number in 32 bits: 12 for the major, 20 for the
// minor (MINORBITS in include/linux/kdev_t.h).
const (
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

// DeviceNumber names a block device by its major and minor number, as stat(2)
// gives them in st_rdev. The zero value names no device.
//
// The kernel gives the number of a removed device to the next one that is
// made, so a DeviceNumber is only as good as the certainty that the device it
// was read from is still there. A Device, which goes by UUID or name, has no
// such weakness.
type DeviceNumber struct {
	Major, Minor uint32
}

// DeviceNumberOf converts the st_rdev of stat(2) or unix.Stat_t.
func DeviceNumberOf(rdev uint64) DeviceNumber {
	return DeviceNumber{Major: unix.Major(rdev), Minor: unix.Minor(rdev)}
}

// ParseDeviceNumber reads the form "major:minor" that the kernel uses in
// tables and under /sys/dev/block.
func ParseDeviceNumber(text string) (DeviceNumber, error) {
	major, minor, found := strings.Cut(text, ":")
	if found {
		// ParseUint accepts neither a sign nor a blank; both are wrong here.
		ma, errMajor := strconv.ParseUint(major, 10, 32)
		mi, errMinor := strconv.ParseUint(minor, 10, 32)
		number := DeviceNumber{Major: uint32(ma), Minor: uint32(mi)}
		if errMajor == nil && errMinor == nil && number.validate("device number") == nil {
			return number, nil
		}
	}
	return DeviceNumber{}, invalid("device number", text, deviceNumberAllowed)
}

// IsZero reports whether the number names no device.
func (n DeviceNumber) IsZero() bool { return n == DeviceNumber{} }

// String returns "major:minor".
func (n DeviceNumber) String() string {
	return strconv.FormatUint(uint64(n.Major), 10) + ":" + strconv.FormatUint(uint64(n.Minor), 10)
}

// Rdev returns the number as stat(2) does in st_rdev and as mknod(2) takes it.
func (n DeviceNumber) Rdev() uint64 { return unix.Mkdev(n.Major, n.Minor) }

// Path returns /dev/dm-MINOR, the node that the kernel itself makes in
// devtmpfs when the device gets its first table. It says something about
// device-mapper devices only.
func (n DeviceNumber) Path() string { return fmt.Sprintf("/dev/dm-%d", n.Minor) }

const deviceNumberAllowed = "major:minor with major from 1 to 4095 and minor from 0 to 1048575"

func (n DeviceNumber) validate(field string) error {
	if n.Major == 0 || n.Major > maxMajor || n.Minor > maxMinor {
		return invalid(field, n.String(), deviceNumberAllowed)
	}
	return nil
}
