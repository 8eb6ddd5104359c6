package thinpool

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// abandon takes the file from below a bbolt database that faulted in the middle of a transaction: its locks are held for
// ever, so it cannot be closed, and its mapping would keep the file locked and the file system mounted until the process
// ends. Nobody may touch the database after this.
func abandon(file *os.File) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return err
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	var errs []error
	for line := range bytes.Lines(maps) {
		var start, end, offset, inode uint64
		var major, minor uint32
		var permissions string
		// proc_pid_maps(5): address range, permissions, offset, device, inode, and the path, if there is one.
		if n, _ := fmt.Sscanf(string(line), "%x-%x %s %x %x:%x %d", &start, &end, &permissions, &offset, &major, &minor, &inode); n != 7 {
			continue
		}
		if inode == stat.Ino && unix.Mkdev(major, minor) == stat.Dev {
			if _, _, errno := unix.Syscall(unix.SYS_MUNMAP, uintptr(start), uintptr(end-start), 0); errno != 0 {
				errs = append(errs, fmt.Errorf("unmap registry: %w", errno))
			}
		}
	}
	return errors.Join(append(errs, file.Close())...)
}
