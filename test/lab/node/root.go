package node

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/uml/guest"
)

const (
	systemDisk = "/dev/ubda"
	// While the root is still the host's, read-only, only /run can be written to.
	diskFolder = "/run/disk"
	rootFolder = "/run/root"
)

// persistent are folders that are on the system disk itself, not in the overlay.
var persistent = []string{"/var/lib/containerd", "/var/lib/kubelet"}

// enterRoot makes the node's root and moves there; the host's root ends up in hostFolder.
func enterRoot() error {
	if err := guest.Mount(guest.Run); err != nil {
		return err
	}
	if err := os.Mkdir(diskFolder, 0o755); err != nil {
		return err
	}
	// The kernel would write to inode tables for minutes otherwise.
	if err := unix.Mount(systemDisk, diskFolder, "ext4", 0, "noinit_itable"); err != nil {
		return fmt.Errorf("mount %s: %w", systemDisk, err)
	}
	for _, folder := range []string{"upper", "work"} {
		if err := os.MkdirAll(filepath.Join(diskFolder, folder), 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", diskFolder, diskFolder)
	if err := guest.Mount(guest.FileSystem{Type: "overlay", Target: rootFolder, Options: options}); err != nil {
		return err
	}
	for _, folder := range persistent {
		if err := bind(filepath.Join(diskFolder, folder), rootFolder+folder); err != nil {
			return err
		}
	}
	if err := pivot(); err != nil {
		return err
	}
	if err := guest.Mount(
		guest.Proc, guest.Sysfs, guest.Cgroup,
		guest.FileSystem{Type: "devtmpfs", Target: "/dev"},
		guest.Pts, guest.Shm, guest.Run, guest.Tmp,
	); err != nil {
		return err
	}
	// What kubelet mounts for one container must reach others: Bidirectional and HostToContainer propagation.
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

// pivot makes rootFolder the root and hostFolder the old one.
func pivot() error {
	if err := os.MkdirAll(rootFolder+hostFolder, 0o755); err != nil {
		return err
	}
	if err := unix.PivotRoot(rootFolder, rootFolder+hostFolder); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	// Overlay and binds hold on to the disk. What is hidden below are the host's own /run and /dev.
	for _, folder := range []string{"/run", "/dev"} {
		if err := unix.Unmount(hostFolder+folder, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", hostFolder+folder, err)
		}
	}
	return nil
}

func bind(source, target string) error {
	for _, folder := range []string{source, target} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", source, target, err)
	}
	return nil
}
