package lab

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// requirements are programs that the lab needs from Debian, with the package that has each.
var requirements = []struct{ program, source string }{
	{"linux.uml", "user-mode-linux"},
	{"ip", "iproute2"},
	{"mkfs.ext4", "e2fsprogs"},
	{"mkfs.xfs", "xfsprogs"},
	{"nsenter", "util-linux"},
	{"crun", "crun"},
	{"iptables-legacy", "iptables"},
	{"modprobe", "kmod"},
	{"busybox", "busybox-static"},
}

// checkRequirements returns an error of one line that says what is missing and how to get it.
func checkRequirements() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("the lab makes namespaces, mounts and tap devices: run it as root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return fmt.Errorf("no tap devices on this machine: %w", err)
	}
	var missing []string
	for _, requirement := range requirements {
		if _, err := exec.LookPath(requirement.program); err != nil {
			missing = append(missing, requirement.source)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing Debian packages: %s; install them with hack/install-debian.sh lab", strings.Join(missing, " "))
	}
	return nil
}
