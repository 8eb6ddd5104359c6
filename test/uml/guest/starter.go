package guest

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// WatchStarter calls gone, from a goroutine of its own, when the process on the host that started the guest has ended. A
// guest that should not outlive it powers itself off then. What is typed into the console is lost.
func WatchStarter(gone func()) error {
	// Not /dev/console, which standard input is: the kernel spares that when a terminal hangs up.
	terminal, err := os.OpenFile("/dev/tty0", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, terminal) // however it ends, the other side is gone
		_ = terminal.Close()
		gone()
	}()
	return nil
}
