//go:build linux

package kerneltest

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// takeDown removes leftovers and returns what failed.
func (l leftovers) takeDown() []error {
	var failures []error
	collect := func(what string, err error) {
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", what, err))
		}
	}
	// A file system on a suspended device cannot be unmounted.
	for key, name := range l.devices {
		collect("resume "+key, control(unix.DM_DEV_SUSPEND, name))
	}
	for key, mountPoint := range l.mounts {
		collect("unmount "+key, unix.Unmount(mountPoint, unix.MNT_DETACH))
	}
	collect("remove devices", l.removeDevices())
	for key, device := range l.loops {
		collect(key, detachLoop(device))
	}
	return failures
}

// removeDevices removes devices until a round removes none: those that others are built on are busy until these are gone.
func (l leftovers) removeDevices() error {
	left := make(map[string]bool)
	for _, name := range l.devices {
		left[name] = true
	}
	for {
		removed := false
		var last error
		for name := range left {
			if err := control(unix.DM_DEV_REMOVE, name); err != nil {
				last = fmt.Errorf("%s: %w", name, err)
				continue
			}
			delete(left, name)
			removed = true
		}
		if len(left) == 0 || !removed {
			return last
		}
	}
}

// control sends a device-mapper ioctl without payload (linux/dm-ioctl.h) about the named device. DM_DEV_SUSPEND without the
// flag of that name means resume.
func control(request uint, name string) error {
	file, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	message := unix.DmIoctl{Version: [3]uint32{4, 0, 0}, Data_size: unix.SizeofDmIoctl, Data_start: unix.SizeofDmIoctl}
	copy(message.Name[:len(message.Name)-1], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), uintptr(request), uintptr(unsafe.Pointer(&message))); errno != 0 {
		return errno
	}
	return nil
}
