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

// TestGrowScarceMetadata: a pool that admits nothing because its metadata runs short gets metadata out of a device that has
// grown, although by the rule it would get none, and admits again.
func TestGrowScarceMetadata(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx, dm, disk := testContext(t), client(t), kerneltest.Disk(t, gib)
	config := configOn(disk)
	config.OverprovisionMilli, config.MinFreePercent = 100_000, 30
	p := get(thinpool.Open(ctx, dm, config))(t)
	create(t, p, raw("v", 64*mib))
	empty := get(p.Status(ctx))(t)
	table := get(dm.Table(ctx, devicemapper.Name(strings.TrimSuffix(empty.DeviceName, "pool")+"metadata"), devicemapper.TableOptions{}))(t)
	// Few blocks, so that the data does not run short too.
	blocks := int(empty.Data.Total / empty.BlockSize / 2)
	fill := func(devices int) thinpool.Status {
		t.Helper()
		if err := p.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		fillMetadata(t, dm, table, devices, blocks)
		p = get(thinpool.Open(ctx, dm, config))(t)
		return get(p.Status(ctx))(t)
	}
	const sample = 10
	first := fill(sample)
	perDevice := (first.Metadata.Used - empty.Metadata.Used) / sample
	wanted := first.Metadata.Total*97/100 - first.Metadata.Used
	// thin_restore replaces what is there by what the dump holds and more, so ids must be new: the first ones go.
	for id := range sample {
		if err := dm.DeleteThin(ctx, devicemapper.Name(first.DeviceName), devicemapper.ThinID(100_000+id)); err != nil {
			t.Fatal(err)
		}
	}
	scarce := fill(sample + int(wanted/perDevice))
	t.Logf("metadata: %d bytes of %d used, a device takes %d", scarce.Metadata.Used, scarce.Metadata.Total, perDevice)
	_, err := p.CreateVolume(ctx, raw("w", mib))
	refused(t, err, thinpool.ErrNoSpace, "metadata")

	before := sizesOf(t, p)
	kerneltest.GrowDisk(t, disk, gib+256*mib)
	if err := p.Reconfigure(ctx, config); err != nil {
		t.Fatal(err)
	}
	after := sizesOf(t, p)
	if after.metadata < before.metadata+16*mib || after.data < before.data+128*mib {
		t.Errorf("%+v became %+v", before, after)
	}
	create(t, p, raw("w", mib))
	if status := get(p.Status(ctx))(t); !status.Admitting || status.Mode != thinpool.ModeReadWrite {
		t.Errorf("%+v", status)
	}
	checkMetadata(t, dm, p)
}
