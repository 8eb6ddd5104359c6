package devicemapper

import "os"

// udevFlags goes into event_nr of the calls that make the kernel send an
// event to udev (resume, remove). The kernel passes it on as DM_COOKIE, whose
// upper 16 bits udev's rules for device mapper read as flags (the DM_UDEV_*
// constants of lvm2's libdm/libdevmapper.h). It tells them that the change
// was made on purpose and that no rule need look at the contents: no blkid,
// no LVM scan, no link under /dev/disk. Such a look holds the device open for
// a moment, at which a removal finds it busy and a mount may find it locked.
// The lower half, a semaphore that libdevmapper would wait on, stays 0.
const udevFlags = (udevPrimarySource | udevDisableSubsystemRules | udevDisableDiskRules | udevDisableOtherRules) << 16

const (
	udevDisableSubsystemRules = 0x0002
	udevDisableDiskRules      = 0x0004
	udevDisableOtherRules     = 0x0008
	udevPrimarySource         = 0x0040
)

// UdevRunning tells whether udev runs on the host. Nothing here depends on
// that; people want to know it. A container may not see udev's control
// socket, but it sees in the host's /dev the links that udev alone makes,
// which stay if udev is stopped.
func UdevRunning() bool {
	for _, path := range []string{"/run/udev/control", "/dev/disk"} {
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	return false
}
