package filesystem

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ext4ResizeFS is EXT4_IOC_RESIZE_FS, _IOW('f', 16, __u64) (fs/ext4/ext4.h): it takes the new number of blocks.
const ext4ResizeFS = 0x40086610

// growExt4 grows an ext4. While it is mounted with noinit_itable the kernel would write all new inode tables at once, a
// hundredth of the size; with init_itable it leaves them to a thread that begins within seconds. So that option is set for
// the ioctl and taken back right after: the tables stay unwritten, and a thin device reads them as zeros.
func growExt4(mount int, root *os.File, superblock Superblock, size int64, kept []mountParameter) (err error) {
	blocks := uint64(size / int64(superblock.BlockSize))
	switch {
	case size < superblock.Size-growthUnit:
		return shrinks(superblock.Size, size)
	case !superblock.Smaller(size):
		return nil
	}
	if err := reconfigure(mount, append([]mountParameter{{key: "init_itable"}}, kept...)); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, reconfigure(mount, append([]mountParameter{fixedParameters[Ext4]}, kept...)))
	}()
	return ioctl(root, ext4ResizeFS, "EXT4_IOC_RESIZE_FS", &blocks)
}

// reconfigure changes options of the file system that is mounted, and no other (fspick(2), Linux 5.2). mount(2) would reset
// the mount's own.
func reconfigure(mount int, parameters []mountParameter) error {
	context, err := unix.Fspick(mount, "", unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH)
	if err != nil {
		return os.NewSyscallError("fspick", err)
	}
	defer func() { _ = unix.Close(context) }()
	for _, parameter := range parameters {
		if err := parameter.set(context); err != nil {
			return fmt.Errorf("fsconfig %s: %w %v", parameter.key, err, contextMessages(context))
		}
	}
	if err := unix.FsconfigReconfigure(context); err != nil {
		return fmt.Errorf("reconfigure %s: %w %v", parameters[0].key, err, contextMessages(context))
	}
	return nil
}
