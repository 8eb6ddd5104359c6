//go:build linux

package kerneltest

import (
	"fmt"
	"os/exec"

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
		collect("resume "+key, dmsetup("resume", name))
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
			if err := dmsetup("remove", name); err != nil {
				last = err
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

// dmsetup does what it says with the named device. It is used here, where time does not matter, so that the judge shares
// nothing with what it judges.
func dmsetup(action, name string, arguments ...string) error {
	arguments = append(append([]string{action}, arguments...), "--", name)
	if output, err := exec.Command("dmsetup", arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("dmsetup %s %s: %w: %s", action, name, err, output)
	}
	return nil
}
