package guest

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// PowerOff flushes all file systems and ends the guest; it does not return. Only process 1 may call it, or at least
// somebody with CAP_SYS_BOOT.
func PowerOff() {
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintf(os.Stderr, "power off: %v\n", err)
	}
	for {
		time.Sleep(time.Hour) // process 1 must not exit, that would panic the kernel
	}
}
