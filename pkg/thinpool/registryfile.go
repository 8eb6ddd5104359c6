package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// The registry lies in one file on an ext4 file system of its own. All of the file is written when the pool is made, and it
// never changes its size, so that a commit writes data blocks alone and needs no journal.
const (
	registryFile = "registry"
	// registrySlack of the file system stays free, in bytes.
	registrySlack = 2 << 20
)

// registryMount is the registry's file system, mounted nowhere: the mount belongs to a file descriptor (fsmount(2)), no
// path leads to it, no other mount namespace gets a copy, and it ends with the process, however that ends.
type registryMount struct {
	directory int
	file      *os.File // that was opened last: the database's, once there is one
}

// mountRegistry mounts the file system on a device.
func mountRegistry(device string) (*registryMount, error) {
	context, err := unix.Fsopen("ext4", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("mount registry: fsopen: %w", err)
	}
	defer func() { _ = unix.Close(context) }()
	for _, option := range []struct{ key, value string }{{"source", device}, {"errors", "remount-ro"}, {"lazytime", ""}} {
		if option.value == "" {
			err = unix.FsconfigSetFlag(context, option.key)
		} else {
			err = unix.FsconfigSetString(context, option.key, option.value)
		}
		if err != nil {
			return nil, fmt.Errorf("mount registry: option %s: %w", option.key, err)
		}
	}
	if err := unix.FsconfigCreate(context); err != nil {
		return nil, fmt.Errorf("mount registry on %s: %w", device, err)
	}
	attributes := unix.MOUNT_ATTR_NOATIME | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOSUID
	directory, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, fmt.Errorf("mount registry on %s: fsmount: %w", device, err)
	}
	return &registryMount{directory: directory}, nil
}

// open opens the registry's file as os.OpenFile does; bbolt calls it. The name that it passes is not a path here.
func (m *registryMount) open(_ string, flags int, mode os.FileMode) (*os.File, error) {
	file, err := m.openFile(registryFile, flags, mode)
	if err == nil {
		m.file = file
	}
	return file, err
}

func (m *registryMount) openFile(name string, flags int, mode os.FileMode) (*os.File, error) {
	fd, err := unix.Openat(m.directory, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, uint32(mode.Perm()))
	if err != nil {
		return nil, &os.PathError{Op: "openat", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// room is how large the registry's file can be, in bytes: whole MiB.
func (m *registryMount) room() (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Fstatfs(m.directory, &stat); err != nil {
		return 0, err
	}
	return (int64(stat.Bavail)*stat.Bsize - registrySlack) &^ (1<<20 - 1), nil
}

func (m *registryMount) sync() error {
	directory, err := unix.Openat(m.directory, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(directory), unix.Close(directory))
}

// close unmounts the file system. The kernel has done so when it returns.
func (m *registryMount) close() error { return unix.Close(m.directory) }

// formatRegistry makes the registry's file system on a device whose contents do not matter.
func formatRegistry(ctx context.Context, device string) error {
	command := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", "-b", "4096", "-I", "256", "-N", "16", "-m", "0",
		"-O", "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,extra_isize,metadata_csum",
		"-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", "-L", "csi-dm-registry", "--", device)
	command.Env = append(os.Environ(), "MKE2FS_CONFIG=/dev/null", "LC_ALL=C")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("format registry: mkfs.ext4: %w: %s", err, strings.TrimSpace(string(output)))
	}
	return nil
}
