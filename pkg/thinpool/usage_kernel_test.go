//go:build kernel

package thinpool_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// writeBlocks writes to the first blocks of 64 KiB of a volume.
func writeBlocks(t testing.TB, p *thinpool.Pool, name string, blocks int) {
	t.Helper()
	file := get(os.OpenFile(activate(t, p, name), os.O_WRONLY|unix.O_SYNC, 0))(t)
	defer deactivate(t, p, name)
	defer file.Close()
	if _, err := file.Write(make([]byte, blocks*64<<10)); err != nil {
		t.Fatal(err)
	}
}

// TestUsage: what a volume holds alone is what the pool has more after it was deleted.
func TestUsage(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	p := open(t, dm, configOn(kerneltest.Disk(t, gib)))
	for _, spec := range []thinpool.VolumeSpec{ext4("a", 64*mib), ext4("b", 64*mib), raw("r", 64*mib), raw("empty", 64*mib)} {
		create(t, p, spec)
	}
	mounted(t, activate(t, p, "a"), "ext4", func(directory string) {
		writeFile(t, directory+"/file", strings.Repeat("content ", int(5*mib)/8))
	})
	deactivate(t, p, "a")
	writeBlocks(t, p, "r", 10)
	// Of the snapshot's 10 blocks 4 become its own, and 4 the source's.
	copied := raw("copy", 64*mib)
	copied.Source = "r"
	create(t, p, copied)
	writeBlocks(t, p, "copy", 4)

	usage := get(p.Usage(ctx))(t)
	t.Logf("%+v", usage)
	for name, want := range map[string]thinpool.Usage{
		"r":     {Mapped: 640 << 10, Shared: 384 << 10, Exclusive: 256 << 10},
		"copy":  {Mapped: 640 << 10, Shared: 384 << 10, Exclusive: 256 << 10},
		"empty": {},
	} {
		if got, ok := usage.Volumes[name]; !ok || got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if a := usage.Volumes["a"]; a.Exclusive < 5*mib || a.Shared <= 0 || a.Mapped != a.Shared+a.Exclusive {
		t.Errorf("a: %+v", a)
	}
	if b := usage.Volumes["b"]; b.Exclusive != 0 || b.Shared == 0 {
		t.Errorf("b, which was never written to: %+v", b)
	}
	if len(usage.Bases) != 1 || usage.Bases[0].Format.Type != "ext4" || usage.Bases[0].Size != 64*mib || usage.Bases[0].Shared == 0 {
		t.Errorf("bases: %+v", usage.Bases)
	}
	if len(usage.Volumes) != 5 || usage.Deleting != (thinpool.Usage{}) || usage.Others != (thinpool.Usage{}) {
		t.Errorf("%+v", usage)
	}

	for _, name := range []string{"b", "a", "r", "copy", "empty"} {
		before, gives := get(p.Status(ctx))(t).Data.Used, get(p.Usage(ctx))(t).Volumes[name].Exclusive
		if err := p.DeleteVolume(ctx, name); err != nil {
			t.Fatal(err)
		}
		drained(t, p)
		if after := get(p.Status(ctx))(t).Data.Used; before-after != gives {
			t.Errorf("deleting %s gave back %d bytes, it held %d alone", name, before-after, gives)
		}
	}
	left := get(p.Usage(ctx))(t)
	if len(left.Volumes) != 0 || len(left.Bases) != 1 || left.Bases[0].Exclusive != get(p.Status(ctx))(t).Data.Used || left.SharedBytes != 0 {
		t.Errorf("only a base is left: %+v", left)
	}
	released(t, dm, p)
}

// released: nobody holds the pool's metadata.
func released(t testing.TB, dm *devicemapper.Client, p *thinpool.Pool) {
	t.Helper()
	status := get(dm.ThinPoolStatus(testContext(t), devicemapper.Name(get(p.Status(testContext(t)))(t).DeviceName)))(t)
	if status.HeldMetadataRoot != 0 {
		t.Error("the metadata snapshot was not released")
	}
}

// TestMapped: what active volumes map is known without reading the metadata, and before it is committed.
func TestMapped(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	p := open(t, dm, configOn(kerneltest.Disk(t, gib)))
	create(t, p, raw("active", 64*mib))
	create(t, p, raw("idle", 64*mib))
	writeBlocks(t, p, "idle", 1)
	writeBlocks(t, p, "active", 3)
	activate(t, p, "active")
	defer deactivate(t, p, "active")
	if got := get(p.Mapped(ctx))(t); len(got) != 1 || got["active"] != 192<<10 {
		t.Errorf("%v", got)
	}
}

// TestUsageWhileHeld: a metadata snapshot that somebody else holds is not taken away.
func TestUsageWhileHeld(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	config := configOn(kerneltest.Disk(t, gib))
	p := open(t, dm, config)
	create(t, p, raw("v", 64*mib))
	name := devicemapper.Name(get(p.Status(ctx))(t).DeviceName)
	if err := dm.ReserveMetadataSnapshot(ctx, name); err != nil {
		t.Fatal(err)
	}
	_, err := p.Usage(ctx)
	refused(t, err, thinpool.ErrMetadataHeld, "somebody else")
	refused(t, err, devicemapper.ErrMetadataSnapshotHeld)
	if err := dm.ReleaseMetadataSnapshot(ctx, name); err != nil {
		t.Fatalf("it was taken away: %v", err)
	}
	get(p.Usage(ctx))(t)

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := p.Usage(cancelled); err == nil {
		t.Error("a call whose context has ended succeeded")
	}
	released(t, dm, p)
	// One that a process before has left goes.
	closed(t, p)
	if err := dm.ReserveMetadataSnapshot(ctx, name); err != nil {
		t.Fatal(err)
	}
	p = open(t, dm, config)
	get(p.Usage(ctx))(t)
	released(t, dm, p)
}

// TestUsageOfFailedPool: a pool that needs a check is not read, and the error says so.
func TestUsageOfFailedPool(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, disk := client(t), testContext(t), kerneltest.Disk(t, gib)
	p := open(t, dm, configOn(disk))
	create(t, p, raw("v", 64*mib))
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	changeSuperblock(t, disk, func(block []byte) { block[4] |= 1 })
	p = get(thinpool.Open(ctx, dm, configOn(disk)))(t)
	_, err := p.Usage(ctx)
	refused(t, err, thinpool.ErrPoolFailed)
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestUsageUnderLoad reads the usage from many goroutines while volumes come and go.
func TestUsageUnderLoad(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	p := open(t, dm, configOn(kerneltest.Disk(t, gib)))
	create(t, p, raw("stays", 64*mib))
	writeBlocks(t, p, "stays", 7)
	// The base is made before: its making is not what is looked at.
	create(t, p, ext4("first", 64*mib))
	var group sync.WaitGroup
	end := time.Now().Add(3 * time.Second)
	reads, lives := make([]int, 4), make([]int, 4)
	for worker := range reads {
		group.Go(func() {
			for ; time.Now().Before(end); reads[worker]++ {
				usage, err := p.Usage(ctx)
				if got := usage.Volumes["stays"]; err != nil || got.Mapped != 448<<10 || got.Exclusive != 448<<10 {
					t.Errorf("%+v, %v", usage, err)
					return
				}
			}
		})
		group.Go(func() {
			for ; time.Now().Before(end); lives[worker]++ {
				spec := ext4(fmt.Sprintf("v-%d-%d", worker, lives[worker]), 64*mib)
				if _, err := p.CreateVolume(ctx, spec); err != nil {
					t.Error(err)
					return
				}
				if err := p.DeleteVolume(ctx, spec.Name); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	t.Logf("usage was read %v times, volumes lived %v times", reads, lives)
	released(t, dm, p)
	drained(t, p)
}

// TestKilledWhileUsageIsRead: the metadata snapshot that a killed process has left is released by the next.
func TestKilledWhileUsageIsRead(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, config := client(t), configOn(kerneltest.Disk(t, gib))
	result := runChild(t, childJob{Config: config, Script: "life", Failpoint: "usage: metadata snapshot held"}, outcome{}, 0)
	if !result.killed {
		t.Fatal("the child did not come to the failpoint")
	}
	recovered(t, dm, config, result)
	p := open(t, dm, config)
	released(t, dm, p)
	get(p.Usage(testContext(t)))(t)
}

// TestUsageOfHandedPool: in a pool that was handed over the registry is a thin device like any other, and no volume.
func TestUsageOfHandedPool(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	owned := newPlainPool(t, dm, gib, nil)
	p := get(thinpool.Open(ctx, dm, owned.config()))(t)
	create(t, p, raw("r", 10*mib))
	writeBlocks(t, p, "r", 4) // of 64 KiB, two of the pool's
	usage := get(p.Usage(ctx))(t)
	held, registry := thinpool.Usage{Mapped: 256 << 10, Exclusive: 256 << 10}, thinpool.Usage{Mapped: 64 * mib, Exclusive: 64 * mib}
	if len(usage.Volumes) != 1 || usage.Volumes["r"] != held || usage.Others != registry {
		t.Errorf("%+v", usage)
	}
	owned.finishOnPool(t, p)
}
