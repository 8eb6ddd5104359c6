package guest

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FileSystem is a file system to mount in the guest.
type FileSystem struct {
	Type    string
	Target  string
	Flags   uintptr
	Options string
}

// What most guests mount.
var (
	Proc   = FileSystem{Type: "proc", Target: "/proc", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC}
	Sysfs  = FileSystem{Type: "sysfs", Target: "/sys", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC}
	Run    = FileSystem{Type: "tmpfs", Target: "/run", Flags: unix.MS_NOSUID | unix.MS_NODEV, Options: "mode=755"}
	Tmp    = FileSystem{Type: "tmpfs", Target: "/tmp", Flags: unix.MS_NOSUID | unix.MS_NODEV, Options: "mode=1777"}
	Pts    = FileSystem{Type: "devpts", Target: "/dev/pts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Options: "mode=620,ptmxmode=666"}
	Shm    = FileSystem{Type: "tmpfs", Target: "/dev/shm", Flags: unix.MS_NOSUID | unix.MS_NODEV, Options: "mode=1777"}
	Cgroup = FileSystem{Type: "cgroup2", Target: "/sys/fs/cgroup", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC}
)

// HostDirectory is the host's directory path at the same place in the guest. It is for directories that the guest may
// write to, and for those hidden below one of the guest's own mounts, such as /tmp.
func HostDirectory(path string, writable bool) FileSystem {
	flags := uintptr(0)
	if !writable {
		flags = unix.MS_RDONLY
	}
	// hostfs takes the host's directory as its only option (arch/um/hostfs).
	return FileSystem{Type: "hostfs", Target: filepath.Clean(path), Flags: flags, Options: filepath.Clean(path)}
}

// Mount mounts the file systems in order and makes mount points that are missing.
func Mount(fileSystems ...FileSystem) error {
	for _, fileSystem := range fileSystems {
		if _, err := os.Stat(fileSystem.Target); err != nil {
			if err := os.MkdirAll(fileSystem.Target, 0o755); err != nil {
				return err
			}
		}
		if err := unix.Mount(fileSystem.Type, fileSystem.Target, fileSystem.Type, fileSystem.Flags, fileSystem.Options); err != nil {
			return fmt.Errorf("mount %s on %s: %w", fileSystem.Type, fileSystem.Target, err)
		}
	}
	return nil
}
