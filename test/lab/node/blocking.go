package node

import (
	"os"

	"golang.org/x/sys/unix"
)

// setBlocking takes a file out of non-blocking mode.
func setBlocking(file *os.File) error { return unix.SetNonblock(int(file.Fd()), false) }
