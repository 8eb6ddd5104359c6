package node

import (
	"errors"
	"fmt"
	"os"

	"github.com/csi-dm/csi-dm/test/lab/reaper"
	"github.com/csi-dm/csi-dm/test/uml/guest"
)

// modules are what a node of a real cluster would load on its own or find built in. Those of iptables come on demand.
var modules = []string{
	"ext4", "xfs", "overlay", "loop", "dm-mod", "dm-thin-pool",
	"bridge", "br_netfilter", "veth", "nf_conntrack",
}

// Init is a node's process 1. It returns only if the node could not be set up or its Serve ended.
func Init() error {
	path := os.Getenv(ConfigVariable)
	if path == "" {
		return errors.New(ConfigVariable + " is not set")
	}
	config, err := readConfig(path)
	if err != nil {
		return err
	}
	if err := guest.LoadModules(modules...); err != nil {
		return err
	}
	if err := enterRoot(); err != nil {
		return err
	}
	if err := errors.Join(
		os.Setenv("PATH", HostPath(config.Containerd)+":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
		os.Setenv("HOME", "/root"),
		// The rest of the kernel's command line is not for programs.
		os.Unsetenv("TERM"),
	); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	status, err := reaper.Run(program, []string{"serve", HostPath(path)})
	if err != nil {
		return err
	}
	return fmt.Errorf("%s serve ended with status %d", program, status)
}
