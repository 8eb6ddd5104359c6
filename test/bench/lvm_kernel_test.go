//go:build kernel

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// volumeManager is LVM with a thin pool, driven as a CSI driver on LVM drives it: by its commands.
type volumeManager struct {
	environment []string
	count       int // thin volumes that stay
}

const volumeGroup = "bench"

// openLVM makes a volume group with a thin pool on a disk. What is switched off of LVM (archives, backups, event daemon,
// device file) is switched off in its favour.
func openLVM(t testing.TB, disk string) *volumeManager {
	t.Helper()
	system := t.TempDir()
	configuration := fmt.Sprintf(`devices { types = [ "ubd", 16 ] filter = [ "a|^%s$|", "r|.*|" ] use_devicesfile = 0 hints = "none" }
global { locking_dir = %q event_activation = 0 }
backup { backup = 0 archive = 0 }
activation { monitoring = 0 udev_sync = 0 udev_rules = 0 }
`, disk, filepath.Join(system, "lock"))
	must(t, os.WriteFile(filepath.Join(system, "lvm.conf"), []byte(configuration), 0o600))
	l := &volumeManager{environment: append(os.Environ(), "LVM_SYSTEM_DIR="+system, "LVM_SUPPRESS_FD_WARNINGS=1", "LC_ALL=C")}
	l.run(t, "vgcreate", "-q", "-y", volumeGroup, disk)
	t.Cleanup(func() {
		l.run(t, "vgremove", "-q", "-f", "-y", volumeGroup)
		l.run(t, "pvremove", "-q", "-f", "-y", disk)
	})
	l.run(t, "lvcreate", "-q", "-y", "--type", "thin-pool", "-L", strconv.Itoa(lvmPoolSize>>20)+"m", "--poolmetadatasize", "256m",
		"--chunksize", "64k", "-n", "pool", volumeGroup)
	return l
}

func (l *volumeManager) run(t testing.TB, program string, arguments ...string) {
	t.Helper()
	command := exec.Command(program, arguments...)
	command.Env = l.environment
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v: %s", program, arguments, err, output)
	}
}

func (l *volumeManager) create(t testing.TB, name string) {
	t.Helper()
	l.run(t, "lvcreate", "-q", "-y", "-T", volumeGroup+"/pool", "-V", strconv.Itoa(volumeSize>>20)+"m", "-n", name)
}

// fill makes thin volumes until there are count.
func (l *volumeManager) fill(t testing.TB, count int) {
	t.Helper()
	for ; l.count < count; l.count++ {
		l.create(t, fmt.Sprintf("volume-%d", l.count))
	}
}

// up makes a volume and mounts it: lvcreate, which activates too, mkfs with its defaults, mount(2).
func (l *volumeManager) up(t testing.TB, fsType filesystem.Type, directory string) lvmSteps {
	t.Helper()
	began := time.Now()
	l.create(t, "sample")
	created := time.Now()
	device := "/dev/" + volumeGroup + "/sample"
	l.run(t, "mkfs."+string(fsType), "-q", device)
	formatted := time.Now()
	must(t, unix.Mount(device, directory, string(fsType), 0, ""))
	return lvmSteps{create: created.Sub(began), format: formatted.Sub(created), mount: time.Since(formatted)}
}

// lvmSteps is how long one volume took.
type lvmSteps struct{ create, format, mount time.Duration }

func (s lvmSteps) total() time.Duration { return s.create + s.format + s.mount }

func (l *volumeManager) down(t testing.TB, directory string) {
	t.Helper()
	must(t, unix.Unmount(directory, 0))
	l.run(t, "lvremove", "-q", "-f", "-y", volumeGroup+"/sample")
}
