//go:build kernel

package thinpool_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// crowded makes a pool with so many volumes, each of them mapped in full onto the same third of the data, by thin_restore:
// mappings take metadata, whatever they map to.
func crowded(t testing.TB, dm *devicemapper.Client, disk string, volumes int) thinpool.Config {
	t.Helper()
	config := configOn(disk)
	config.MinFreePercent, config.OverprovisionMilli = 0, 100_000
	p := open(t, dm, config)
	status := get(p.Status(testContext(t)))(t)
	size := roomOf(config, status).LargestVolume
	for i := range volumes {
		create(t, p, raw(fmt.Sprintf("v-%d", i), size))
	}
	made := p.Volumes()
	if err := p.Shutdown(testContext(t)); err != nil {
		t.Fatal(err)
	}
	blocks, data := size/config.BlockSize, size/config.BlockSize/3
	var dump strings.Builder
	fmt.Fprintf(&dump, `<superblock uuid="" time="0" transaction="0" flags="0" version="2" data_block_size="%d" nr_data_blocks="%d">`, config.BlockSize/512, status.Data.Total/config.BlockSize)
	for _, v := range made {
		fmt.Fprintf(&dump, `<device dev_id="%d" mapped_blocks="%d" transaction="0" creation_time="0" snap_time="0">`, v.ThinID, blocks)
		for at := int64(0); at < blocks; at += data {
			fmt.Fprintf(&dump, `<range_mapping origin_begin="%d" data_begin="0" length="%d" time="0"/>`, at, min(data, blocks-at))
		}
		dump.WriteString("</device>")
	}
	dump.WriteString("</superblock>")
	restoreMetadata(t, dm, disk, status.Metadata.Total, dump.String())
	return config
}

// TestMetadataNearItsEnd: a pool whose metadata fills up says so and admits nothing long before the kernel runs out; what is
// there works, and deleting makes room.
func TestMetadataNearItsEnd(t *testing.T) {
	kerneltest.CheckClean(t)
	dm := client(t)
	config := crowded(t, dm, kerneltest.Disk(t, gib), 40)
	p := open(t, dm, config)
	status := watched(t, p)
	if status.Metadata.State != thinpool.SpaceOK || !status.Admitting {
		t.Errorf("without minFreeSpace: %+v", status)
	}
	// The kernel keeps a tenth in reserve.
	config.MinFreePercent = int(status.Metadata.Free()*100/(status.Metadata.Total*9/10)) + 1
	if err := p.Reconfigure(testContext(t), config); err != nil {
		t.Fatal(err)
	}
	status = watched(t, p)
	if status.Metadata.State != thinpool.SpaceCritical || status.Admitting || !errors.Is(status.AdmissionError, thinpool.ErrBelowMinFree) || !strings.Contains(status.AdmissionReason, "metadata") || status.Mode != thinpool.ModeReadWrite {
		t.Errorf("%+v", status)
	}
	t.Logf("metadata: %d of %d bytes are used, at minFreeSpace %d%% the state is %s: %s", status.Metadata.Used, status.Metadata.Total, config.MinFreePercent, status.Metadata.State, status.AdmissionReason)
	_, err := p.CreateVolume(testContext(t), raw("refused", mib))
	refused(t, err, thinpool.ErrBelowMinFree, "metadata")
	_, err = p.CreateVolume(testContext(t), thinpool.VolumeSpec{Name: "refused", Source: "v-0"})
	refused(t, err, thinpool.ErrBelowMinFree, "metadata")
	// What is there is written, which takes metadata, too: each of these blocks is shared.
	if err := fillRange(t, activate(t, p, "v-0"), 0, 8*mib); err != nil {
		t.Error(err)
	}
	deactivate(t, p, "v-0")
	for i := range 6 {
		if err := p.DeleteVolume(testContext(t), fmt.Sprintf("v-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(2 * time.Minute); get(p.Status(testContext(t)))(t).PendingDeletions > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the deletions do not end")
		}
	}
	if status = watched(t, p); status.Metadata.State == thinpool.SpaceCritical || !status.Admitting {
		t.Errorf("after deletions: %+v", status)
	}
	create(t, p, raw("again", mib))
}

// TestMetadataFull: a pool whose metadata space has run out opens, names that as its fault, and its volumes can be read.
func TestMetadataFull(t *testing.T) {
	kerneltest.CheckClean(t)
	dm := client(t)
	config := crowded(t, dm, kerneltest.Disk(t, gib), 60)
	p := get(thinpool.Open(testContext(t), dm, config))(t)
	status := watched(t, p)
	if status.Metadata.State != thinpool.SpaceFull || status.Admitting || !errors.Is(status.AdmissionError, thinpool.ErrPoolFailed) || status.Mode != thinpool.ModeReadOnly || !strings.Contains(status.Fault, "metadata space is full") {
		t.Errorf("%+v", status)
	}
	t.Logf("fault: %s", status.Fault)
	_, err := p.CreateVolume(testContext(t), raw("refused", mib))
	refused(t, err, thinpool.ErrPoolFailed)
	run(t, "dd", "if="+activate(t, p, "v-0"), "of=/dev/null", "bs=1M", "count=8", "status=none")
	deactivate(t, p, "v-0")
	if err := p.Shutdown(testContext(t)); err != nil {
		t.Error(err)
	}
}

// restoreMetadata makes the metadata of a pool that is not active from a dump.
func restoreMetadata(t testing.TB, dm *devicemapper.Client, disk string, size int64, dump string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dump.xml")
	if err := os.WriteFile(path, []byte(dump), 0o600); err != nil {
		t.Fatal(err)
	}
	device := get(dm.Activate(testContext(t), "restored", "", devicemapper.Table{{
		Length: devicemapper.SectorsOf(size), Target: devicemapper.Linear{
			Device: devicemapper.DeviceNumberOf(stat(t, disk).Rdev), OffsetSectors: devicemapper.SectorsOf(metadataAt),
		},
	}}))(t)
	run(t, "thin_restore", "-i", path, "-o", device.Path())
	if _, err := dm.Remove(testContext(t), device, devicemapper.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
}
