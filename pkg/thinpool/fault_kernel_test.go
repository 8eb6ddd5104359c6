//go:build kernel

package thinpool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// faultPool is a pool on a disk that can fail, beside one on a disk that does not.
type faultPool struct {
	t        testing.TB
	dm       *devicemapper.Client
	disk     *faultyDisk
	config   thinpool.Config
	pool     *thinpool.Pool
	metadata part

	neighbour  *thinpool.Pool
	neighbours int
}

// registryPart is where the registry of a pool lies on its first device.
var registryPart = part{mib, 64 * mib}

func newFaultPool(t testing.TB, more ...string) *faultPool {
	t.Helper()
	f := newNeighbour(t)
	f.disk = newFaultyDisk(t, f.dm, "faulty", gib)
	f.config = configOn(append([]string{f.disk.path()}, more...)...)
	f.pool = open(t, f.dm, f.config)
	f.metadata = part{metadataAt, get(f.pool.Status(testContext(t)))(t).Metadata.Total}
	return f
}

// newSplitPool is a pool whose metadata has a disk of its own, which can fail. A flush is sent to all of a disk, so that the
// registry on the other one stays well.
func newSplitPool(t testing.TB) *faultPool {
	t.Helper()
	f := newNeighbour(t)
	f.disk = newFaultyDisk(t, f.dm, "faulty", 256*mib)
	f.config = configOn()
	f.config.Source = thinpool.Source{DataDevice: kerneltest.Disk(t, gib), MetadataDevice: f.disk.path()}
	f.pool = open(t, f.dm, f.config)
	f.metadata = part{mib, get(f.pool.Status(testContext(t)))(t).Metadata.Total}
	return f
}

func newNeighbour(t testing.TB) *faultPool {
	t.Helper()
	f := &faultPool{t: t, dm: client(t)}
	config := configOn(kerneltest.Disk(t, 512*mib))
	config.Name = "neighbour"
	f.neighbour = open(t, f.dm, config)
	return f
}

// status has the pool's devices looked at, as the agent does, and gives the status then.
func (f *faultPool) status() thinpool.Status {
	f.t.Helper()
	return watched(f.t, f.pool)
}

// watched gives the status that a watcher gets first.
func watched(t testing.TB, p *thinpool.Pool) thinpool.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(testContext(t), 20*time.Second)
	defer cancel()
	var status thinpool.Status
	var err error
	_ = p.Watch(ctx, time.Millisecond, func() {
		status, err = p.Status(ctx)
		cancel()
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return status
}

// neighbourWorks makes and deletes a volume in the pool on the other disk.
func (f *faultPool) neighbourWorks() {
	f.t.Helper()
	f.neighbours++
	name := fmt.Sprintf("n-%d", f.neighbours)
	create(f.t, f.neighbour, ext4(name, 32*mib))
	mounted(f.t, activate(f.t, f.neighbour, name), "ext4", func(directory string) { writeFile(f.t, directory+"/file", name) })
	deactivate(f.t, f.neighbour, name)
	if err := f.neighbour.DeleteVolume(testContext(f.t), name); err != nil {
		f.t.Error(err)
	}
}

// shutDown takes the pool's kernel devices away; what the registry says of a fault is no failure of that.
func (f *faultPool) shutDown() {
	f.t.Helper()
	began := time.Now()
	if err := f.pool.Shutdown(testContext(f.t)); err != nil {
		f.t.Logf("shutdown: %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		f.t.Errorf("shutdown took %s", took)
	}
}

// repaired checks the metadata of a pool that is not active with thin_check, and repairs it into the spare where that finds
// anything.
func (f *faultPool) repaired() {
	f.t.Helper()
	ctx := testContext(f.t)
	area := func(name string, start int64) devicemapper.Device {
		device := get(f.dm.Activate(ctx, devicemapper.Name(name), "", devicemapper.Table{{
			Length: devicemapper.SectorsOf(f.metadata.length), Target: devicemapper.Linear{Device: f.disk.device.Number, OffsetSectors: devicemapper.SectorsOf(start)},
		}}))(f.t)
		f.t.Cleanup(func() { _, _ = f.dm.Remove(ctx, device, devicemapper.RemoveOptions{}) })
		return device
	}
	metadata, spare := area("checked", f.metadata.start), area("spare", f.metadata.start+f.metadata.length)
	output, err := exec.Command("thin_check", "--clear-needs-check-flag", metadata.Path()).CombinedOutput()
	if err != nil {
		f.t.Logf("thin_check: %v: %s", err, output)
		run(f.t, "thin_repair", "-i", metadata.Path(), "-o", spare.Path())
		run(f.t, "dd", "if="+spare.Path(), "of="+metadata.Path(), "bs=1M", "conv=fsync", "status=none")
		run(f.t, "thin_check", metadata.Path())
	}
	for _, device := range []devicemapper.Device{metadata, spare} {
		if _, err := f.dm.Remove(ctx, device, devicemapper.RemoveOptions{}); err != nil {
			f.t.Fatal(err)
		}
	}
}

// reopened makes the disk well, repairs the metadata and opens the pool again.
func (f *faultPool) reopened() {
	f.t.Helper()
	f.shutDown()
	f.disk.heal()
	f.repaired()
	f.pool = open(f.t, f.dm, f.config)
	if status := f.status(); status.Fault != "" || !status.Admitting || status.NeedsCheck || status.Mode != thinpool.ModeReadWrite {
		f.t.Errorf("the disk is well: %+v", status)
	}
}

// TestMetadataFails: the disk fails below the pool's metadata, for writes or for all. Nothing is acknowledged that is not
// durable, what the pool says names the disk, what was there can be read, other pools work, and after a repair everything
// acknowledged is there.
func TestMetadataFails(t *testing.T) {
	for name, fault := range map[string]func(devicemapper.DeviceNumber, devicemapper.Sectors) devicemapper.Target{
		"writes": failingWrites, "everything": failingAll,
	} {
		t.Run(name, func(t *testing.T) {
			kerneltest.CheckClean(t)
			f := newSplitPool(t)
			ctx := testContext(t)
			for _, spec := range []thinpool.VolumeSpec{ext4("kept", 64*mib), ext4("inactive", 64*mib), ext4("deleted", 64*mib)} {
				create(t, f.pool, spec)
			}
			directory, _ := mount(t, activate(t, f.pool, "kept"), "ext4")
			writeFile(t, directory+"/before", "before")
			f.disk.fail(f.metadata, fault)

			began := time.Now()
			_, err := f.pool.CreateVolume(ctx, ext4("new", 64*mib))
			refused(t, err, thinpool.ErrPoolFailed, "the kernel holds it in mode")
			_, err = f.pool.CreateVolume(ctx, raw("new-raw", 64*mib))
			refused(t, err, thinpool.ErrPoolFailed)
			_, err = f.pool.CreateVolume(ctx, thinpool.VolumeSpec{Name: "new-snapshot", Source: "kept"})
			if err == nil {
				t.Error("a snapshot was acknowledged")
			}
			t.Logf("snapshot: %v", err)
			// The registry is well, and says what has to be done when the pool is.
			if err := f.pool.DeleteVolume(ctx, "deleted"); err != nil {
				t.Errorf("deletion: %v", err)
			}
			// New blocks cannot be mapped any more; if the write is said to be durable it must be.
			syncErr := writeThrough(directory+"/after", 4*mib)
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
			status := f.status()
			if status.Admitting || !errors.Is(status.AdmissionError, thinpool.ErrPoolFailed) || status.Mode != thinpool.ModeReadOnly && status.Mode != thinpool.ModeFailed || status.PendingDeletions != 1 {
				t.Errorf("%+v", status)
			}
			for _, text := range []string{f.disk.path(), "metadata", string(status.Mode)} {
				if !strings.Contains(status.Fault, text) {
					t.Errorf("the pool's fault is %q, it does not say %q", status.Fault, text)
				}
			}
			t.Logf("fault: %s", status.Fault)
			t.Logf("write with fsync: %v", syncErr)
			expectFile(t, directory+"/before", "before")
			f.neighbourWorks()

			if err := unix.Unmount(directory, 0); err != nil {
				t.Fatal(err)
			}
			deactivate(t, f.pool, "kept")
			f.reopened()
			checkedAndMounted(t, activate(t, f.pool, "kept"), "ext4", func(directory string) {
				expectFile(t, directory+"/before", "before")
				if info, err := os.Stat(directory + "/after"); syncErr == nil && (err != nil || info.Size() != 4*mib) {
					t.Errorf("a file that was said to be durable: %v, %v", info, err)
				}
			})
			deactivate(t, f.pool, "kept")
			mounted(t, activate(t, f.pool, "inactive"), "ext4", func(string) {})
			deactivate(t, f.pool, "inactive")
			if _, err := f.pool.Volume("deleted"); !errors.Is(err, thinpool.ErrVolumeNotFound) {
				t.Errorf("a volume whose deletion was acknowledged: %v", err)
			}
			create(t, f.pool, ext4("new", 64*mib))
			create(t, f.pool, raw("new-raw", 64*mib))
		})
	}
}

// TestMetadataFailsUnderFsync: the first that meets the fault is a write to a new block with an fsync. Linux 6.1 says that it is
// durable, since it forgets the error of a flush that comes with data; the pool says at once that it has failed, and what was
// synced before is there after the repair.
func TestMetadataFailsUnderFsync(t *testing.T) {
	kerneltest.CheckClean(t)
	f := newSplitPool(t)
	create(t, f.pool, ext4("kept", 64*mib))
	directory, _ := mount(t, activate(t, f.pool, "kept"), "ext4")
	writeFile(t, directory+"/before", "before")
	f.disk.fail(f.metadata, failingWrites)
	first := writeThrough(directory+"/first", 4*mib)
	if status := f.status(); status.Mode != thinpool.ModeReadOnly || !status.NeedsCheck || !strings.Contains(status.Fault, f.disk.path()) || status.Admitting {
		t.Errorf("%+v", status)
	}
	if err := writeThrough(directory+"/second", 4*mib); err == nil {
		t.Error("a second write was said to be durable")
	}
	if _, err := f.pool.CreateVolume(testContext(t), thinpool.VolumeSpec{Name: "snapshot", Source: "kept"}); err == nil {
		t.Error("a snapshot was acknowledged")
	}
	if err := unix.Unmount(directory, 0); err != nil {
		t.Fatal(err)
	}
	deactivate(t, f.pool, "kept")
	f.reopened()
	checkedAndMounted(t, activate(t, f.pool, "kept"), "ext4", func(directory string) {
		expectFile(t, directory+"/before", "before")
		content, err := os.ReadFile(directory + "/first")
		t.Logf("the kernel said %v of a write of 4 MiB; there are %d bytes (%v), as they were written: %t", first, len(content), err, bytes.Equal(content, pattern(4*mib)))
	})
	deactivate(t, f.pool, "kept")
}

// checkedAndMounted mounts a volume whose file system has seen errors, as stage does: ext4 that says so is checked first, which
// replays a journal that the kernel would pass over.
func checkedAndMounted(t testing.TB, device string, fsType filesystem.Type, do func(directory string)) {
	t.Helper()
	if fsType == filesystem.Ext4 {
		if err := filesystem.CheckExt4(testContext(t), device); err != nil {
			t.Error(err)
		}
	}
	mounted(t, device, fsType, do)
}

// pattern is what writeThrough writes.
func pattern(size int64) []byte { return bytes.Repeat([]byte("content "), int(size/8)) }

// writeThrough writes a file of that size and flushes it.
func writeThrough(path string, size int64) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = file.Write(pattern(size))
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// TestRegistryFails: the disk fails below the registry. Volumes that exist are served; nothing is made or deleted, and what
// the pool says names the disk.
func TestRegistryFails(t *testing.T) {
	for name, fault := range map[string]func(devicemapper.DeviceNumber, devicemapper.Sectors) devicemapper.Target{
		// A disk that fails writes fails flushes, too, and those are all of the disk's.
		"writes": failingWrites, "registry alone": failingAll,
	} {
		t.Run(name, func(t *testing.T) {
			kerneltest.CheckClean(t)
			f := newFaultPool(t)
			ctx := testContext(t)
			for _, spec := range []thinpool.VolumeSpec{ext4("kept", 64*mib), ext4("inactive", 64*mib), ext4("to-delete", 64*mib)} {
				create(t, f.pool, spec)
			}
			directory, _ := mount(t, activate(t, f.pool, "kept"), "ext4")
			writeFile(t, directory+"/file", "content")
			time.Sleep(1200 * time.Millisecond) // results that ride are committed
			f.disk.fail(registryPart, fault)
			_, err := f.pool.CreateVolume(ctx, ext4("new", 64*mib))
			refused(t, err, thinpool.ErrPoolFailed, "registry")
			refused(t, f.pool.DeleteVolume(ctx, "to-delete"), thinpool.ErrPoolFailed, "registry")
			_, err = f.pool.CreateVolume(ctx, raw("new-raw", 64*mib))
			refused(t, err, thinpool.ErrPoolFailed, "registry")
			status := f.status()
			if status.Admitting || name == "registry alone" && status.Mode != thinpool.ModeReadWrite || !errors.Is(status.AdmissionError, thinpool.ErrPoolFailed) || !strings.Contains(status.AdmissionReason+status.Fault, f.disk.path()) {
				t.Errorf("%+v", status)
			}
			t.Logf("admission: %s; fault: %s", status.AdmissionReason, status.Fault)
			expectFile(t, directory+"/file", "content")
			if err := writeThrough(directory+"/more", mib); (err == nil) != (name == "registry alone") {
				t.Errorf("writing to a volume: %v", err)
			}
			activate(t, f.pool, "inactive")
			if err := unix.Unmount(directory, 0); err != nil {
				t.Fatal(err)
			}
			deactivate(t, f.pool, "kept")
			deactivate(t, f.pool, "inactive")
			f.neighbourWorks()
			f.reopened()
			for _, volume := range []string{"kept", "inactive"} {
				checkedAndMounted(t, activate(t, f.pool, volume), "ext4", func(directory string) {
					if volume == "kept" {
						expectFile(t, directory+"/file", "content")
					}
				})
				deactivate(t, f.pool, volume)
			}
			create(t, f.pool, ext4("new", 64*mib))
			if err := f.pool.DeleteVolume(ctx, "to-delete"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDataFails: one of two data disks fails. The pool says which, makes no volume, and serves what lies on the other; when
// the disk is back it goes on by itself.
func TestDataFails(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	second := newFaultyDisk(t, dm, "second", 256*mib)
	f := newFaultPool(t, second.path())
	create(t, f.pool, ext4("kept", 64*mib))
	mounted(t, activate(t, f.pool, "kept"), "ext4", func(directory string) { writeFile(t, directory+"/file", "content") })
	if status := f.status(); status.Fault != "" || !status.Admitting {
		t.Errorf("at first: %+v", status)
	}
	second.fail(second.whole(), failingAll)
	status := f.status()
	if status.Mode != thinpool.ModeReadWrite || !strings.Contains(status.Fault, second.path()) || strings.Contains(status.Fault, f.disk.path()) || status.Admitting {
		t.Errorf("%+v", status)
	}
	t.Logf("fault: %s", status.Fault)
	_, err := f.pool.CreateVolume(ctx, ext4("new", 64*mib))
	refused(t, err, thinpool.ErrPoolFailed, second.path())
	mounted(t, activate(t, f.pool, "kept"), "ext4", func(directory string) { expectFile(t, directory+"/file", "content") })
	f.neighbourWorks()
	second.heal()
	if status := f.status(); status.Fault != "" || !status.Admitting {
		t.Errorf("the disk is back: %+v", status)
	}
	create(t, f.pool, ext4("new", 64*mib))
	deactivate(t, f.pool, "kept")
}

// TestDataFailsUnderMkfs: the disk fails below all data while a base is being made. Nothing is acknowledged and nothing is
// left; the next attempt makes it.
func TestDataFailsUnderMkfs(t *testing.T) {
	for name, fault := range map[string]func(devicemapper.DeviceNumber, devicemapper.Sectors) devicemapper.Target{
		"writes": failingWrites, "everything": failingAll,
	} {
		t.Run(name, func(t *testing.T) {
			kerneltest.CheckClean(t)
			f := newFaultPool(t)
			ctx := testContext(t)
			start := f.metadata.start + 2*f.metadata.length
			f.disk.fail(part{start, f.disk.size - start}, fault)
			_, err := f.pool.CreateVolume(ctx, ext4("new", 64*mib))
			if err == nil {
				t.Error("a volume was acknowledged whose file system was not written")
			}
			t.Logf("refused: %v", err)
			if name == "writes" {
				f.reopened() // flushes failed as well, and with them the registry
			} else {
				f.disk.heal()
			}
			if status := f.status(); status.Volumes != 0 || status.Bases != 0 || status.Fault != "" {
				t.Errorf("%+v", status)
			}
			checkIDs(t, f.dm, f.pool)
			create(t, f.pool, ext4("new", 64*mib))
			mounted(t, activate(t, f.pool, "new"), "ext4", func(string) {})
			deactivate(t, f.pool, "new")
		})
	}
}

// TestBadBlock: one block of the metadata cannot be read. The pool refuses to open and says why, and is repaired.
func TestBadBlock(t *testing.T) {
	kerneltest.CheckClean(t)
	f := newFaultPool(t)
	create(t, f.pool, ext4("kept", 64*mib))
	mounted(t, activate(t, f.pool, "kept"), "ext4", func(directory string) { writeFile(t, directory+"/file", "content") })
	deactivate(t, f.pool, "kept")
	f.disk.dust(f.metadata.start)
	if status := f.status(); !strings.Contains(status.Fault, "metadata on "+f.disk.path()+" cannot be read: input/output error") || status.Admitting {
		t.Errorf("%+v", status)
	}
	f.shutDown()
	f.disk.dust(f.metadata.start) // shutting down wrote the block anew, which makes it good
	p, err := thinpool.Open(testContext(t), f.dm, f.config)
	if !errors.Is(err, unix.EIO) {
		t.Errorf("open: %v", err)
	}
	if err == nil {
		finish(t, f.dm, p)
	}
	t.Logf("open: %v", err)
	f.neighbourWorks()
	f.reopened()
	mounted(t, activate(t, f.pool, "kept"), "ext4", func(directory string) { expectFile(t, directory+"/file", "content") })
	deactivate(t, f.pool, "kept")
}

// TestDiskGone: the whole disk fails under mounted volumes. Every call ends, with an error that says so; the pool's devices
// can be taken away; when the disk is back everything acknowledged is there.
func TestDiskGone(t *testing.T) {
	kerneltest.CheckClean(t)
	f := newFaultPool(t)
	ctx := testContext(t)
	for _, spec := range []thinpool.VolumeSpec{ext4("kept", 64*mib), xfs("kept-xfs", 320*mib), ext4("inactive", 64*mib)} {
		create(t, f.pool, spec)
	}
	directory, _ := mount(t, activate(t, f.pool, "kept"), "ext4")
	writeFile(t, directory+"/file", "content")
	directoryXFS, _ := mount(t, activate(t, f.pool, "kept-xfs"), "xfs")
	writeFile(t, directoryXFS+"/file", "content")
	f.disk.fail(f.disk.whole(), failingAll)
	if status := f.status(); status.Admitting || strings.Count(status.Fault, f.disk.path()) < 3 {
		t.Errorf("%+v", status)
	} else {
		t.Logf("fault: %s", status.Fault)
	}
	began := time.Now()
	_, err := f.pool.CreateVolume(ctx, ext4("new", 64*mib))
	refused(t, err, thinpool.ErrPoolFailed)
	err = f.pool.DeleteVolume(ctx, "inactive")
	refused(t, err, thinpool.ErrPoolFailed)
	if err := writeThrough(directory+"/after", mib); err == nil {
		t.Error("a write to a disk that is gone was said to be durable")
	}
	if err := writeThrough(directoryXFS+"/after", mib); err == nil {
		t.Error("a write to a disk that is gone was said to be durable")
	}
	f.neighbourWorks()
	for _, directory := range []string{directory, directoryXFS} {
		if err := unix.Unmount(directory, 0); err != nil {
			t.Fatal(err)
		}
	}
	deactivate(t, f.pool, "kept")
	deactivate(t, f.pool, "kept-xfs")
	f.shutDown()
	if _, err := thinpool.Open(ctx, f.dm, f.config); err == nil {
		t.Fatal("a pool on a disk that is gone was opened")
	} else {
		t.Logf("open: %v", err)
	}
	if took := time.Since(began); took > 60*time.Second {
		t.Errorf("it took %s", took)
	}
	f.reopened()
	for name, fsType := range map[string]string{"kept": "ext4", "kept-xfs": "xfs", "inactive": "ext4"} {
		v := get(f.pool.Volume(name))(t)
		if string(v.Format.Type) != fsType {
			t.Errorf("%s: %+v", name, v)
		}
		checkedAndMounted(t, activate(t, f.pool, name), v.Format.Type, func(directory string) {
			if name != "inactive" {
				expectFile(t, directory+"/file", "content")
			}
		})
		deactivate(t, f.pool, name)
	}
	create(t, f.pool, ext4("new", 64*mib))
}
