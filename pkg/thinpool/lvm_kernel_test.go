//go:build kernel

package thinpool_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// volumeGroup is a volume group of LVM, driven by its commands.
type volumeGroup struct {
	name        string
	environment []string
}

// newVolumeGroup makes a volume group on disks. The guest has no udev, so LVM makes its device nodes itself.
func newVolumeGroup(t testing.TB, name string, disks ...string) *volumeGroup {
	t.Helper()
	system := t.TempDir()
	var filter []string
	for _, disk := range disks {
		filter = append(filter, fmt.Sprintf("%q", "a|^"+disk+"$|"))
	}
	configuration := fmt.Sprintf(`devices { filter = [ %s, "r|.*|" ] use_devicesfile = 0 hints = "none" }
global { locking_dir = %q event_activation = 0 }
backup { backup = 0 archive = 0 }
activation { monitoring = 0 udev_sync = 0 udev_rules = 0 thin_pool_autoextend_threshold = 70 thin_pool_autoextend_percent = 20 }
`, strings.Join(filter, ", "), filepath.Join(system, "lock"))
	if err := os.WriteFile(filepath.Join(system, "lvm.conf"), []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	g := &volumeGroup{name: name, environment: append(os.Environ(), "LVM_SYSTEM_DIR="+system, "LVM_SUPPRESS_FD_WARNINGS=1", "LC_ALL=C")}
	g.run(t, "vgcreate", append([]string{"-q", "-y", name}, disks...)...)
	t.Cleanup(func() {
		g.run(t, "vgremove", "-q", "-f", "-y", name)
		g.run(t, "pvremove", append([]string{"-q", "-f", "-y"}, disks...)...)
	})
	return g
}

// try runs one of LVM's commands and gives what it printed.
func (g *volumeGroup) try(program string, arguments ...string) (string, error) {
	command := exec.Command(program, arguments...)
	command.Env = g.environment
	output, err := command.CombinedOutput()
	return strings.TrimSpace(string(output)), err
}

func (g *volumeGroup) run(t testing.TB, program string, arguments ...string) string {
	t.Helper()
	output, err := g.try(program, arguments...)
	if err != nil {
		t.Fatalf("%s %q: %v: %s", program, arguments, err, output)
	}
	return output
}
