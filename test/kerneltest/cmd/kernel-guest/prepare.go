//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/kerneltest/job"
	"github.com/csi-dm/csi-dm/test/uml/guest"
)

// scratch holds the files below loop devices. Three quarters of the memory leave enough for the tests themselves.
var scratch = guest.FileSystem{Type: "tmpfs", Target: "/run/csi-dm-test", Flags: unix.MS_NOSUID | unix.MS_NODEV, Options: "mode=700,size=75%"}

// prepare makes a bare guest ready for tests.
func prepare(description job.Job) error {
	if err := guest.Mount(guest.Proc, guest.Sysfs, guest.Run, guest.Tmp, guest.Pts, guest.Shm, scratch,
		guest.HostDirectory(description.Directory, true)); err != nil {
		return err
	}
	for _, step := range description.Steps {
		// Hidden by one of these mounts, if the repository lies below /tmp for example.
		if _, err := os.Stat(step.Directory); errors.Is(err, os.ErrNotExist) {
			if err := guest.Mount(guest.HostDirectory(step.Directory, false)); err != nil {
				return err
			}
		}
	}
	if err := guest.LoadModules(description.Modules...); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("kernel-test")); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	return raiseLoopback()
}

// raiseLoopback brings up the interface that tests of servers listen on.
func raiseLoopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("raise lo: %w", err)
	}
	return nil
}

// environment is what every step gets besides its own words.
func environment(description job.Job) []string {
	return []string{
		// Debian's administration programs are in sbin, which is in no ordinary user's PATH.
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/tmp", "TMPDIR=/tmp", "TERM=" + os.Getenv("TERM"),
		// There is no udev that dmsetup and lvm could wait for.
		"DM_DISABLE_UDEV=1",
		job.ScratchVariable + "=" + scratch.Target,
		job.DisksVariable + "=" + strings.Join(description.Disks, ","),
	}
}
