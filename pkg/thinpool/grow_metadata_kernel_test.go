//go:build kernel

package thinpool_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// fillMetadata puts thin devices that share all their blocks into the metadata of a pool that is shut down, with
// thin_dump and thin_restore. Nobody's registry knows them. table is that of the pool's metadata.
func fillMetadata(t testing.TB, dm *devicemapper.Client, table devicemapper.Table, devices, blocks int) {
	t.Helper()
	ctx := testContext(t)
	metadata := get(dm.Activate(ctx, "fill-metadata", "", table))(t)
	defer func() {
		if _, err := dm.Remove(ctx, metadata, devicemapper.RemoveOptions{BusyTimeout: 5 * time.Second}); err != nil {
			t.Error(err)
		}
	}()
	dump := string(get(exec.Command("thin_dump", metadata.Path()).Output())(t))
	const end = "</superblock>"
	if !strings.Contains(dump, end) {
		t.Fatalf("thin_dump: %s", dump)
	}
	var more strings.Builder
	for i := range devices {
		fmt.Fprintf(&more, `<device dev_id="%d" mapped_blocks="%d" transaction="0" creation_time="0" snap_time="0">`+
			`<range_mapping origin_begin="0" data_begin="0" length="%d" time="0"/></device>`+"\n", 100_000+i, blocks, blocks)
	}
	path := filepath.Join(kerneltest.Scratch(t), "metadata.xml")
	defer os.Remove(path)
	if err := os.WriteFile(path, []byte(strings.Replace(dump, end, more.String()+end, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "thin_restore", "-i", path, "-o", metadata.Path())
}

// TestGrowExhaustedMetadata: the kernel holds a pool read-only whose metadata has run out. When the pool has grown, out of
// space that its device got, it is written again, and its metadata is whole.
func TestGrowExhaustedMetadata(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx, dm, disk := testContext(t), client(t), kerneltest.Disk(t, gib)
	config := configOn(disk)
	config.OverprovisionMilli, config.MinFreePercent = 100_000, 0
	p := get(thinpool.Open(ctx, dm, config))(t)
	create(t, p, ext4("v", 64*mib))
	mounted(t, activate(t, p, "v"), "ext4", func(directory string) { writeFile(t, filepath.Join(directory, "file"), "content") })
	deactivate(t, p, "v")
	empty := get(p.Status(ctx))(t)
	table := get(dm.Table(ctx, devicemapper.Name(strings.TrimSuffix(empty.DeviceName, "pool")+"metadata"), devicemapper.TableOptions{}))(t)
	blocks := int(empty.Data.Total / empty.BlockSize / 2)
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	// About as many as fit: 28 MiB, of which the kernel keeps a tenth, and 57 blocks of 4 KiB for each.
	fillMetadata(t, dm, table, 109, blocks)
	p = get(thinpool.Open(ctx, dm, config))(t)
	exhaustMetadata(t, dm, p, blocks)
	_, err := p.CreateVolume(ctx, raw("w", mib))
	refused(t, err, thinpool.ErrPoolFailed)

	// Neither does a restart help.
	closed(t, p)
	p = get(thinpool.Open(ctx, dm, config))(t)
	if status := get(p.Status(ctx))(t); status.Mode != thinpool.ModeReadOnly {
		t.Errorf("mode %s after a restart", status.Mode)
	}
	kerneltest.GrowDisk(t, disk, 2*gib)
	if err := p.Reconfigure(ctx, config); err != nil {
		t.Fatal(err)
	}
	if status := get(p.Status(ctx))(t); status.Mode != thinpool.ModeReadWrite || status.NeedsCheck || status.Metadata.Total < empty.Metadata.Total+16*mib {
		t.Errorf("%+v", status)
	}
	create(t, p, raw("w", mib))
	mounted(t, activate(t, p, "v"), "ext4", func(directory string) { expectFile(t, filepath.Join(directory, "file"), "content") })
	deactivate(t, p, "v")
	checkMetadata(t, dm, p)
}

// exhaustMetadata writes to snapshots of the devices of fillMetadata until the kernel has no metadata block left.
func exhaustMetadata(t testing.TB, dm *devicemapper.Client, p *thinpool.Pool, blocks int) {
	t.Helper()
	ctx := testContext(t)
	pool := get(dm.Info(ctx, devicemapper.Name(get(p.Status(ctx))(t).DeviceName)))(t)
	content := alignedBlock(4096)
	for i := range 40 {
		id := devicemapper.ThinID(200_000 + i)
		if err := dm.CreateSnapshot(ctx, pool, id, devicemapper.ThinID(100_000+i)); err != nil {
			t.Fatal(err)
		}
		target := devicemapper.Thin{Pool: pool.Number, ID: id}
		thin := get(dm.Activate(ctx, "writer", "", devicemapper.Table{{Length: devicemapper.SectorsOf(int64(blocks) * 64 << 10), Target: target}}))(t)
		device := get(os.OpenFile(thin.Path(), os.O_RDWR|unix.O_DIRECT, 0))(t)
		var failure error
		for at := 0; at < blocks && failure == nil; at += 120 { // each in another leaf of the mapping's tree
			_, failure = device.WriteAt(content, int64(at)*64<<10)
		}
		if err := device.Close(); err != nil {
			t.Error(err)
		}
		if _, err := dm.Remove(ctx, thin, devicemapper.RemoveOptions{BusyTimeout: 5 * time.Second}); err != nil {
			t.Fatal(err)
		}
		if status := get(p.Status(ctx))(t); status.Mode == thinpool.ModeReadOnly && !status.NeedsCheck {
			t.Logf("write %v; %d bytes of %d used", failure, status.Metadata.Used, status.Metadata.Total)
			return
		} else if failure != nil || status.Mode != thinpool.ModeReadWrite {
			t.Fatalf("mode %s, needs check %t, write: %v", status.Mode, status.NeedsCheck, failure)
		}
	}
	t.Fatalf("the metadata is not full: %+v", get(p.Status(ctx))(t).Metadata)
}
