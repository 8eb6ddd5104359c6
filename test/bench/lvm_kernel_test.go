//go:build kernel

package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// volumeManager is LVM with a thin pool, driven as a CSI driver on LVM drives it: by its commands.
type volumeManager struct {
	dm          *devicemapper.Client
	environment []string
	directory   string // for its configuration and its metadata as text
	count       int    // thin volumes that stay
}

const (
	volumeGroup = "bench"
	// lvmPoolSize of LVM's thin pool, in bytes.
	lvmPoolSize = 14 << 30
)

// openLVM makes a volume group with a thin pool on a disk. What is switched off of LVM (archives, backups, event daemon,
// device file) is switched off in its favour.
func openLVM(t testing.TB, dm *devicemapper.Client, disk string) *volumeManager {
	t.Helper()
	system := t.TempDir()
	configuration := fmt.Sprintf(`devices { types = [ "ubd", 16 ] filter = [ "a|^%s$|", "r|.*|" ] use_devicesfile = 0 hints = "none" }
global { locking_dir = %q event_activation = 0 }
backup { backup = 0 archive = 0 }
activation { monitoring = 0 udev_sync = 0 udev_rules = 0 }
`, disk, filepath.Join(system, "lock"))
	must(t, os.WriteFile(filepath.Join(system, "lvm.conf"), []byte(configuration), 0o600))
	l := &volumeManager{dm: dm, directory: system, environment: append(os.Environ(), "LVM_SYSTEM_DIR="+system, "LVM_SUPPRESS_FD_WARNINGS=1", "LC_ALL=C")}
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

// fill makes thin volumes until there are count. lvcreate makes the first; the others are put into LVM's metadata as copies
// of it, and into the pool by messages, which leaves the same as lvcreate would in a hundredth of the time.
func (l *volumeManager) fill(t testing.TB, count int) {
	t.Helper()
	if l.count == 0 {
		l.create(t, lvmName(0))
		l.count++
	}
	backup := filepath.Join(l.directory, "metadata")
	l.run(t, "vgcfgbackup", "-q", "-f", backup, volumeGroup)
	text, err := os.ReadFile(backup)
	must(t, err)
	first := l.count
	copied, ids, err := copyVolumes(string(text), lvmName(0), count-first, func(i int) string { return lvmName(first + i) })
	must(t, err)
	must(t, os.WriteFile(backup, []byte(copied), 0o600))
	for _, id := range ids {
		must(t, l.dm.CreateThin(context.Background(), devicemapper.Name(volumeGroup+"-pool-tpool"), devicemapper.ThinID(id)))
	}
	l.run(t, "vgchange", "-q", "-an", volumeGroup)
	l.run(t, "vgcfgrestore", "-q", "-y", "--force", "-f", backup, volumeGroup)
	l.count = count
	active := []string{"-q", "-ay", volumeGroup + "/pool"}
	for i := range min(count, mostActive) {
		active = append(active, volumeGroup+"/"+lvmName(i))
	}
	l.run(t, "lvchange", active...)
}

func lvmName(number int) string { return fmt.Sprintf("volume-%d", number) }

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
	l.remove(t)
}

func (l *volumeManager) remove(t testing.TB) {
	t.Helper()
	l.run(t, "lvremove", "-q", "-f", "-y", volumeGroup+"/sample")
}

// nineCommands runs what TopoLVM 0.41 runs on the node from a LogicalVolume object to its thin volume and the capacity that
// is published afterwards, without its nsenter, and takes the volume away again outside of the clock.
func (l *volumeManager) nineCommands(t testing.TB) time.Duration {
	t.Helper()
	group := []string{"vgs", volumeGroup, "-o", "vg_uuid,vg_name,vg_size,vg_free", "--units", "b", "--nosuffix", "--reportformat", "json"}
	columns := "lv_uuid,lv_name,lv_full_name,lv_path,lv_size,lv_kernel_major,lv_kernel_minor,origin,origin_size,pool_lv,lv_tags,lv_attr,vg_name,data_percent,metadata_percent,pool_lv"
	volumes := func(which string) []string {
		return []string{"lvs", which, "-o", columns, "--units", "b", "--nosuffix", "--reportformat", "json"}
	}
	began := time.Now()
	for _, arguments := range [][]string{
		// Is it there already?
		group, volumes(volumeGroup + "/pool"), volumes(volumeGroup),
		// Is there room?
		group, volumes(volumeGroup + "/pool"), volumes(volumeGroup),
		{"lvcreate", "-T", volumeGroup + "/pool", "-n", "sample", "-V", strconv.Itoa(volumeSize) + "b", "-W", "y", "-y"},
		volumes(volumeGroup + "/sample"),
		// What is left?
		{"fullreport", "--reportformat", "json", "--units", "b", "--nosuffix", "--configreport", "vg", "-o", "vg_name,vg_uuid,vg_size,vg_free",
			"--configreport", "lv", "-o", columns, "--configreport", "pv", "-o,", "--configreport", "pvseg", "-o,", "--configreport", "seg", "-o,"},
	} {
		l.run(t, "lvm", arguments...)
	}
	took := time.Since(began)
	l.remove(t)
	return took
}
