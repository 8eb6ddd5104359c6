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
	return errors.Join(linkModules(), linkPacketFilter(), nameClockSpeed())
}

// linkModules puts the kernel's modules where modprobe looks, also when the kernel itself calls it.
func linkModules() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	release := unix.ByteSliceToString(name.Release[:])
	return link(filepath.Join("/usr/lib/uml/modules", release), filepath.Join("/lib/modules", release))
}

// linkPacketFilter makes iptables the one that works without nf_tables' families ip and inet, which this kernel lacks.
func linkPacketFilter() error {
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			if err := link("/usr/sbin/xtables-legacy-multi", "/usr/local/sbin/"+family+suffix); err != nil {
				return err
			}
		}
	}
	return nil
}

// link makes a symbolic link and the folder it is in. It may be there from an earlier boot.
func link(target, name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(target, name); !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
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
