//go:build kernel

package thinpool_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

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

// TestMetadataFailsUnderFsync: the first that meets the fault is a write to a new block with an fsync. Linux 6.1 may say that it
// is durable, since it forgets the error of a flush that comes with data, unless its own commit, once a second, meets the fault first; the pool says at once that it has failed, and what was
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
