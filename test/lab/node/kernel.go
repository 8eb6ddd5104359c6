package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// settings are sysctls that kubelet, kube-proxy and the pods' network need.
var settings = map[string]string{
	"net/ipv4/ip_forward":                "1",
	"net/bridge/bridge-nf-call-iptables": "1",
	"vm/overcommit_memory":               "1",
	"vm/panic_on_oom":                    "0",
	"kernel/panic":                       "10",
	"kernel/panic_on_oops":               "1",
	"fs/inotify/max_user_instances":      "8192",
}

// setUpKernel sets what is left to set of the running kernel.
func setUpKernel(config Config) error {
	if err := unix.Sethostname([]byte(config.Name)); err != nil {
		return err
	}
	for name, value := range settings {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	return errors.Join(linkModules(), nameClockSpeed())
}

// linkModules puts the kernel's modules where modprobe looks, also when the kernel itself calls it.
func linkModules() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	release := unix.ByteSliceToString(name.Release[:])
	if err := os.MkdirAll("/lib/modules", 0o755); err != nil {
		return err
	}
	err := os.Symlink(filepath.Join("/usr/lib/uml/modules", release), filepath.Join("/lib/modules", release))
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

var endOfProcessor = regexp.MustCompile(`(?m)^bogomips\s*:.*$`)

// nameClockSpeed adds the line to /proc/cpuinfo without which cAdvisor, and so kubelet, gives up. User Mode Linux has none.
func nameClockSpeed() error {
	content, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return err
	}
	content = endOfProcessor.ReplaceAll(content, []byte("$0\ncpu MHz\t\t: 2600.000"))
	const file = "/run/cpuinfo"
	if err := os.WriteFile(file, content, 0o444); err != nil {
		return err
	}
	if err := unix.Mount(file, "/proc/cpuinfo", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to /proc/cpuinfo: %w", file, err)
	}
	return nil
}
