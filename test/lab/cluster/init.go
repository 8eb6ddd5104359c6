package cluster

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/lab/reaper"
)

// Init is the lab's first process: it has just been started in new network, mount and PID namespaces. It makes them usable,
// then runs the supervisor and returns its exit status. When it ends the kernel ends everything else.
func Init(configFile string) (int, error) {
	if os.Getpid() != 1 {
		return 0, fmt.Errorf("this is process %d: the lab's first process must be 1 of a PID namespace of its own", os.Getpid())
	}
	// Nothing mounted here may appear outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 0, fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return 0, fmt.Errorf("mount proc: %w", err)
	}
	config, err := ReadConfig(configFile)
	if err != nil {
		return 0, err
	}
	listener := os.NewFile(ListenerDescriptor, "listener")
	reports := os.NewFile(ReportDescriptor, "reports")
	return reaper.Run(config.Programs.Lab, []string{"supervise", configFile}, listener, reports)
}
