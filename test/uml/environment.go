package uml

import (
	"slices"
	"strings"
	"syscall"
)

// tmpfsMagic is TMPFS_MAGIC of linux/magic.h.
const tmpfsMagic = 0x01021994

// environment returns the host's environment with TMPDIR leading to a tmpfs: the kernel keeps the guest's memory in an
// unlinked file there, which on a disk would be written back all the time.
func environment(host []string) []string {
	var stat syscall.Statfs_t
	if syscall.Statfs("/dev/shm", &stat) != nil || stat.Type != tmpfsMagic {
		return host
	}
	result := slices.DeleteFunc(slices.Clone(host), func(word string) bool { return strings.HasPrefix(word, "TMPDIR=") })
	return append(result, "TMPDIR=/dev/shm")
}
