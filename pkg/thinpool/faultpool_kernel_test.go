//go:build kernel

package thinpool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

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

// everyRepair is what an admin agrees to who agrees to all.
var everyRepair = []thinpool.RepairAction{thinpool.ActionFileSystem, thinpool.ActionNeedsCheck, thinpool.ActionMetadata}

// repaired checks a pool that was shut down and repairs what that finds.
func repaired(t testing.TB, dm *devicemapper.Client, config thinpool.Config) {
	t.Helper()
	report, err := thinpool.Repair(testContext(t), dm, config, everyRepair)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("repaired: %v", report.Done)
	if report.After.NeedsCheck || report.After.MetadataDamage != "" || report.After.RegistryDamage != "" || report.After.FileSystemDamage != "" || len(report.After.Lost) > 0 || len(report.Damaged) > 0 {
		t.Errorf("after a repair: %+v", report)
	}
}

// reopened makes the disk well, repairs the metadata and opens the pool again.
func (f *faultPool) reopened() {
	f.t.Helper()
	f.shutDown()
	f.disk.heal()
	repaired(f.t, f.dm, f.config)
	f.pool = open(f.t, f.dm, f.config)
	if status := f.status(); status.Fault != "" || !status.Admitting || status.NeedsCheck || status.Mode != thinpool.ModeReadWrite {
		f.t.Errorf("the disk is well: %+v", status)
	}
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
