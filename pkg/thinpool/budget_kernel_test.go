//go:build kernel

package thinpool_test

import (
	"context"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// lastTime is the kernel's count of snapshots at which the pool gives out no more, see snapshotBudget and spareSnapshots.
const lastTime = 1<<24 - 1 - 1024

// setTime sets the kernel's count of snapshots in the metadata of a pool that is not active.
func setTime(t testing.TB, disk string, time uint32) {
	t.Helper()
	changeSuperblock(t, disk, func(block []byte) { binary.LittleEndian.PutUint32(block[44:], time) })
}

// kernelTime reads the kernel's count of snapshots of a pool that is not active.
func kernelTime(t testing.TB, disk string) uint32 {
	t.Helper()
	file := get(os.Open(disk))(t)
	defer file.Close()
	block := make([]byte, thinmetadata.BlockSize)
	if _, err := file.ReadAt(block, metadataAt); err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.Uint32(block[44:])
}

// TestSnapshotBudget: a pool that has made nearly all the snapshots of its life warns, then refuses snapshots before the
// kernel's counter wraps. Volumes are made further on, by formatting, and everything that was there stays as it was.
func TestSnapshotBudget(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, disk := client(t), testContext(t), kerneltest.Disk(t, 2*gib)
	config := configOn(disk)
	p := open(t, dm, config)
	create(t, p, ext4("early", 64*mib))
	mounted(t, activate(t, p, "early"), "ext4", func(directory string) { writeFile(t, directory+"/file", "early") })
	deactivate(t, p, "early")
	if left := get(p.Status(ctx))(t).SnapshotBudget; left <= thinpool.LowSnapshotBudget {
		t.Errorf("%d snapshots are left of a new pool", left)
	}
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	setTime(t, disk, lastTime-2)
	p = open(t, dm, config)
	if left := get(p.Status(ctx))(t).SnapshotBudget; left != 2 || left > thinpool.LowSnapshotBudget {
		t.Errorf("%d snapshots are left", left)
	}
	create(t, p, ext4("last-but-one", 64*mib))
	create(t, p, thinpool.VolumeSpec{Name: "last", Source: "early"})
	before := get(p.Status(ctx))(t)
	if before.SnapshotBudget != 0 || !before.Admitting || before.AdmissionError != nil {
		t.Errorf("after the last snapshot: %+v", before)
	}
	_, err := p.CreateVolume(ctx, thinpool.VolumeSpec{Name: "one-more", Source: "early"})
	refused(t, err, thinpool.ErrSnapshotBudget)
	create(t, p, raw("raw", 64*mib))
	for _, spec := range []thinpool.VolumeSpec{ext4("ext4", 64*mib), ext4("ext4-again", 64*mib), xfs("xfs", 320*mib)} {
		create(t, p, spec)
		mounted(t, activate(t, p, spec.Name), spec.Format.Type, func(directory string) { writeFile(t, directory+"/file", spec.Name) })
		deactivate(t, p, spec.Name)
		// Idempotent, and still one volume.
		if again := create(t, p, spec); again.ThinID != get(p.Volume(spec.Name))(t).ThinID {
			t.Errorf("asked again: %+v", again)
		}
	}
	if status := get(p.Status(ctx))(t); status.Bases != before.Bases || status.PromisedBytes != before.PromisedBytes+512*mib {
		t.Errorf("%d bases and %d promised bytes, were %d and %d", status.Bases, status.PromisedBytes, before.Bases, before.PromisedBytes)
	}
	checkIDs(t, dm, p)
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if time := kernelTime(t, disk); time != lastTime {
		t.Errorf("the kernel counts %d snapshots, want %d", time, lastTime)
	}
	p = open(t, dm, config)
	if left := get(p.Status(ctx))(t).SnapshotBudget; left != 0 {
		t.Errorf("%d snapshots are left after opening again", left)
	}
	for name, content := range map[string]string{"early": "early", "last": "early", "ext4": "ext4", "ext4-again": "ext4-again", "xfs": "xfs"} {
		v := get(p.Volume(name))(t)
		mounted(t, activate(t, p, name), v.Format.Type, func(directory string) { expectFile(t, directory+"/file", content) })
		deactivate(t, p, name)
	}
	for _, v := range p.Volumes() {
		if err := p.DeleteVolume(ctx, v.Name); err != nil {
			t.Error(err)
		}
	}
}

// formatting makes and deletes volumes in a pool that has no snapshots left.
func formatting(ctx context.Context, p *thinpool.Pool, say func(fact)) error {
	for _, spec := range []thinpool.VolumeSpec{ext4("a", 64*mib), ext4("b", 32*mib)} {
		if err := doCreate(ctx, p, say, spec); err != nil {
			return err
		}
	}
	if err := doDelete(ctx, p, say, "a"); err != nil {
		return err
	}
	return doCreate(ctx, p, say, ext4("a", 32*mib))
}

// TestKilledWhileFormatting kills the process at every failpoint of a volume that is made by formatting.
func TestKilledWhileFormatting(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, disk := client(t), testContext(t), kerneltest.Disk(t, gib)
	config := configOn(disk)
	p := open(t, dm, config)
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	setTime(t, disk, lastTime)
	visited := 0
	for _, name := range thinpool.Failpoints() {
		if !strings.HasPrefix(name, "format:") && name != "base: intent durable" && name != "base: thin device made" && name != "base: formatted" {
			continue
		}
		visited++
		result := runChild(t, childJob{Config: config, Script: "format", Failpoint: name}, outcome{}, 0)
		if !result.killed {
			t.Fatalf("the child did not come to %q", name)
		}
		recoveredAndEmptied(t, dm, config, result)
		if t.Failed() {
			t.Fatalf("killed at %q", name)
		}
	}
	if visited < 4 {
		t.Errorf("%d failpoints were visited", visited)
	}
	finish(t, dm, get(thinpool.Open(ctx, dm, config))(t))
	if time := kernelTime(t, disk); time != lastTime {
		t.Errorf("the kernel counts %d snapshots, want %d", time, lastTime)
	}
}
