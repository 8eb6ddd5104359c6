//go:build kernel

package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

func newRegistry(t testing.TB, device string) *registry {
	t.Helper()
	if err := formatRegistry(context.Background(), device); err != nil {
		t.Fatal(err)
	}
	record := poolRecord{Version: registryVersion, PoolID: newPoolID(), BlockSectors: 128}
	if err := makeRegistry(device, record); err != nil {
		t.Fatal(err)
	}
	r, contents, err := openRegistry(device, newMessageTurn())
	if err != nil {
		t.Fatal(err)
	}
	if contents.pool != record || len(contents.volumes)+len(contents.bases)+len(contents.intents) != 0 || contents.nextThinID != 0 {
		t.Errorf("a new registry holds %+v", contents)
	}
	return r
}

func volumeWrite(name string, id uint32) write {
	v := exampleVolume()
	v.ThinID = id
	return write{bucketVolumes, []byte(name), encodeRecord(v)}
}

// TestRegistryIsSwept: what the committer leaves is read page by page, so that no open falls back to bbolt's slower way unnoticed.
func TestRegistryIsSwept(t *testing.T) {
	kerneltest.CheckClean(t)
	device := kerneltest.Disk(t, 16<<20)
	r := newRegistry(t, device)
	const volumes = 1200
	for i := range volumes / 100 {
		var writes []write
		for j := range 100 {
			writes = append(writes, volumeWrite(fmt.Sprintf("pvc-%d-%d", i, j), uint32(100*i+j)))
		}
		if err := r.committer.commit(t.Context(), uint32(100*i+100), writes...); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	mount, err := mountRegistry(device)
	if err != nil {
		t.Fatal(err)
	}
	defer mount.close()
	size, err := registrySize(mount)
	if err != nil {
		t.Fatal(err)
	}
	file, err := mount.open("", os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	contents, err := sweepContents(file, size)
	if err != nil || len(contents.volumes) != volumes || contents.nextThinID != volumes {
		t.Errorf("read page by page: %+v, %v; want %d volumes", contents, err, volumes)
	}
}

// TestRegistryFull fills a registry: it refuses entries while there is room for deletions, holds all that it took, and has
// room again after them. Its file never changes its size.
func TestRegistryFull(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx, device := context.Background(), kerneltest.Disk(t, 16<<20)
	r := newRegistry(t, device)
	size, err := registrySize(r.mount)
	if err != nil {
		t.Fatal(err)
	}
	filler := strings.Repeat("x", 90)
	name := func(i int) string { return fmt.Sprintf("%s%06d", filler, i) }
	taken := 0
	for ; r.committer.room() == nil; taken += 300 {
		var writes []write
		for i := range 300 {
			writes = append(writes, volumeWrite(name(taken+i), uint32(taken+i)))
		}
		if err := r.committer.commit(ctx, uint32(taken+300), writes...); err != nil {
			t.Fatal(err)
		}
		if taken > 1_000_000 {
			t.Fatal("the registry is never full")
		}
	}
	t.Logf("%d volumes fit into %d bytes", taken, size)
	if err := r.committer.room(); !errors.Is(err, ErrRegistryFull) {
		t.Errorf("full: %v", err)
	}
	// Beyond the spare, bbolt itself refuses, and the registry goes on.
	var huge []write
	for i := range 20_000 {
		huge = append(huge, volumeWrite(name(500_000+i), uint32(500_000+i)))
	}
	if err := r.committer.commit(ctx, 0, huge...); !errors.Is(err, ErrRegistryFull) {
		t.Fatalf("more than fits: %v", err)
	}
	if err := r.committer.broken(); err != nil {
		t.Fatalf("a full registry counts as broken: %v", err)
	}
	for i := range 50 {
		if err := r.committer.commit(ctx, 0, write{bucketVolumes, []byte(name(i)), nil}); err != nil {
			t.Fatalf("deletion %d from a full registry: %v", i, err)
		}
	}
	var deletions []write
	for i := 50; i < taken/2; i++ {
		deletions = append(deletions, write{bucketVolumes, []byte(name(i)), nil})
	}
	if err := r.committer.commit(ctx, 0, deletions...); err != nil {
		t.Fatal(err)
	}
	if err := r.committer.commit(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if err := r.committer.room(); err != nil {
		t.Errorf("after deletions: %v", err)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	r, contents, err := openRegistry(device, newMessageTurn())
	if err != nil {
		t.Fatal(err)
	}
	if len(contents.volumes) != taken-taken/2 || contents.nextThinID < uint32(taken) {
		t.Errorf("%d volumes of %d, next thin id %d", len(contents.volumes), taken-taken/2, contents.nextThinID)
	}
	if after, err := registrySize(r.mount); err != nil || after != size {
		t.Errorf("the file had %d bytes and has %d, %v", size, after, err)
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
}

// TestRegistryCommits: riders are committed by themselves after a while, with the next commit before that, and by close.
func TestRegistryCommits(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx, device := context.Background(), kerneltest.Disk(t, 16<<20)
	r := newRegistry(t, device)
	committed := func() uint64 {
		stats := r.db.Stats()
		return uint64(stats.TxStats.GetWrite())
	}
	before, began := committed(), time.Now()
	r.committer.ride(volumeWrite("rider-1", 1))
	time.Sleep(riderPatience / 4)
	if committed() != before && time.Since(began) < riderPatience {
		t.Error("a rider was committed at once")
	}
	for deadline := began.Add(30 * time.Second); committed() == before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a rider is not committed by itself")
		}
	}
	r.committer.ride(volumeWrite("rider-2", 2))
	if err := r.committer.commit(ctx, 3, volumeWrite("waited-for", 3)); err != nil {
		t.Fatal(err)
	}
	r.committer.ride(volumeWrite("rider-3", 4))
	r.committer.ride(write{bucketVolumes, []byte("rider-1"), nil})
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if err := r.committer.commit(ctx, 0); !errors.Is(err, ErrPoolClosed) {
		t.Errorf("commit after close: %v", err)
	}
	r, contents, err := openRegistry(device, newMessageTurn())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}()
	for name, want := range map[string]bool{"rider-1": false, "rider-2": true, "waited-for": true, "rider-3": true} {
		if _, there := contents.volumes[name]; there != want {
			t.Errorf("%s is there: %t", name, there)
		}
	}
	if contents.nextThinID != 5 {
		t.Errorf("next thin id %d", contents.nextThinID)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := r.committer.commit(cancelled, 0, volumeWrite("late", 9)); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestRegistryOnFailingDisk: when the disk below fails, those who wait get an error, every later commit is refused, nothing
// panics, and what had been committed is there when the disk is back.
func TestRegistryOnFailingDisk(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx, disk := context.Background(), kerneltest.Disk(t, 64<<20)
	dm, err := devicemapper.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer dm.Close()
	var stat unix.Stat_t
	if err := unix.Stat(disk, &stat); err != nil {
		t.Fatal(err)
	}
	number := devicemapper.DeviceNumberOf(stat.Rdev)
	size := devicemapper.SectorsOf(64 << 20)
	linear := devicemapper.Table{{Length: size, Target: devicemapper.Linear{Device: number}}}
	device, err := dm.Activate(ctx, "failing", "", linear)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := dm.Remove(ctx, device, devicemapper.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	}()
	swap := func(table devicemapper.Table) {
		t.Helper()
		if err := errors.Join(dm.Suspend(ctx, device, devicemapper.SuspendOptions{SkipLockFS: true, NoFlush: true}),
			dm.Load(ctx, device, table, devicemapper.LoadOptions{}), dm.Resume(ctx, device)); err != nil {
			t.Fatal(err)
		}
	}
	r := newRegistry(t, device.Path())
	for i := range 100 {
		if err := r.committer.commit(ctx, uint32(i+1), volumeWrite(fmt.Sprintf("v-%d", i), uint32(i))); err != nil {
			t.Fatal(err)
		}
	}
	swap(devicemapper.Table{{Length: size, Target: devicemapper.ErrorTarget{}}})
	// Have the mapped pages read from the disk again.
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		t.Fatal(err)
	}
	if err := r.committer.commit(ctx, 101, volumeWrite("lost", 100)); !errors.Is(err, ErrPoolFailed) {
		t.Errorf("commit on a failed disk: %v", err)
	}
	if err := r.committer.commit(ctx, 101, volumeWrite("later", 101)); !errors.Is(err, ErrPoolFailed) {
		t.Errorf("commit after a failure: %v", err)
	}
	if err := r.close(); !errors.Is(err, ErrPoolFailed) {
		t.Errorf("close after a failure: %v", err)
	}
	swap(linear)
	r, contents, err := openRegistry(device.Path(), newMessageTurn())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(contents.volumes); n < 100 || n > 101 {
		t.Errorf("%d volumes are left of 100 and one that failed", n)
	}
	if err := r.committer.commit(ctx, 102, volumeWrite("again", 101)); err != nil {
		t.Error(err)
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
}
