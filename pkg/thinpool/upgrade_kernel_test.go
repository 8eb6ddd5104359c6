//go:build kernel

package thinpool_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// testdata/pool-version-1.gz is a pool on two disks of 512 and 128 MiB as csi-dm wrote it when labels and registry had
// version 1: the volumes "ext4-volume" (64 MiB, with a file) and "raw-volume" (8 MiB, with a text at 1 MiB), and one that
// was deleted. It holds the disks' blocks that are not zero: number of the disk (4 bytes, little-endian), offset in bytes
// (8), and the block's 4,096 bytes.
const imageOfVersion1 = "testdata/pool-version-1.gz"

const textOfVersion1 = "written by version 1"

// poolOfVersion1 puts that pool on new disks.
func poolOfVersion1(t *testing.T) thinpool.Config {
	t.Helper()
	paths := []string{kerneltest.Disk(t, 512*mib), kerneltest.Disk(t, 128*mib)}
	var disks []*os.File
	for _, path := range paths {
		disks = append(disks, get(os.OpenFile(path, os.O_RDWR, 0))(t))
	}
	file := get(os.Open(imageOfVersion1))(t)
	defer file.Close()
	stored := get(gzip.NewReader(file))(t)
	record := make([]byte, 12+4096)
	blocks := 0
	for {
		_, err := io.ReadFull(stored, record)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		disk := disks[binary.LittleEndian.Uint32(record)]
		if _, err := disk.WriteAt(record[12:], int64(binary.LittleEndian.Uint64(record[4:]))); err != nil {
			t.Fatal(err)
		}
		blocks++
	}
	if blocks < 100 {
		t.Fatalf("%d blocks in %s", blocks, imageOfVersion1)
	}
	for _, disk := range disks {
		if err := errors.Join(disk.Sync(), disk.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return configOn(paths...)
}

// labelVersions are the versions of all copies of a pool's labels.
func labelVersions(t *testing.T, config thinpool.Config) (oldest, newest uint32) {
	t.Helper()
	oldest = ^uint32(0)
	for _, path := range config.Source.Devices {
		content := image(t, path)
		for _, at := range []int64{16, mib - 64<<10 + 16} {
			version := binary.LittleEndian.Uint32(content[at:])
			oldest, newest = min(oldest, version), max(newest, version)
		}
	}
	return oldest, newest
}

// checkUpgraded checks an open pool that was of version 1, and uses it.
func checkUpgraded(t *testing.T, dm *devicemapper.Client, config thinpool.Config, p *thinpool.Pool) {
	t.Helper()
	if oldest, _ := labelVersions(t, config); oldest != thinpool.LabelVersion {
		t.Errorf("a label has version %d", oldest)
	}
	if version := get(p.StoredRegistryVersion())(t); version != thinpool.RegistryVersion {
		t.Errorf("the registry has version %d", version)
	}
	if volumes := p.Volumes(); len(volumes) != 2 || volumes[0].Name != "ext4-volume" || volumes[0].Size != 64*mib || volumes[1].Name != "raw-volume" || volumes[1].Size != 8*mib {
		t.Errorf("%+v", volumes)
	}
	mounted(t, activate(t, p, "ext4-volume"), "ext4", func(directory string) {
		expectFile(t, filepath.Join(directory, "file"), textOfVersion1)
	})
	deactivate(t, p, "ext4-volume")
	device := get(os.Open(activate(t, p, "raw-volume")))(t)
	content := make([]byte, len(textOfVersion1))
	if _, err := device.ReadAt(content, mib); err != nil || string(content) != textOfVersion1 {
		t.Errorf("%q, %v", content, err)
	}
	if err := device.Close(); err != nil {
		t.Error(err)
	}
	deactivate(t, p, "raw-volume")
	// Its base serves new volumes.
	before := get(p.Status(testContext(t)))(t)
	create(t, p, ext4("new", 64*mib))
	if after := get(p.Status(testContext(t)))(t); before.Bases != 1 || after.Bases != 1 {
		t.Errorf("%d bases, then %d", before.Bases, after.Bases)
	}
	if err := p.DeleteVolume(testContext(t), "new"); err != nil {
		t.Error(err)
	}
	checkIDs(t, dm, p)
}

// TestUpgrade opens a pool of version 1: it is of the newest version then, with all that it held, and can grow.
func TestUpgrade(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx, dm, config := testContext(t), client(t), poolOfVersion1(t)
	if oldest, newest := labelVersions(t, config); oldest != 1 || newest != 1 {
		t.Fatalf("labels have versions %d to %d", oldest, newest)
	}
	p := get(thinpool.Open(ctx, dm, config))(t)
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	before := [][]byte{image(t, config.Source.Devices[0])[:mib], image(t, config.Source.Devices[1])[:mib]}
	p = open(t, dm, config)
	checkUpgraded(t, dm, config, p)
	for i, device := range config.Source.Devices {
		if !bytes.Equal(before[i], image(t, device)[:mib]) {
			t.Errorf("the label of %s was written a second time", device)
		}
	}
	sizes := sizesOf(t, p)
	kerneltest.GrowDisk(t, config.Source.Devices[1], 5*gib)
	if err := p.Reconfigure(ctx, config); err != nil {
		t.Error(err)
	}
	if grown := sizesOf(t, p); grown.data < sizes.data+4*gib || grown.metadata <= sizes.metadata {
		t.Errorf("%+v became %+v", sizes, grown)
	}
}

// TestKilledWhileUpgrading kills the process at every failpoint of an upgrade and opens the pool again. That it comes to
// all of them shows that the pool's registry, too, was of version 1.
func TestKilledWhileUpgrading(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, visited := client(t), 0
	for _, name := range thinpool.Failpoints() {
		if !strings.HasPrefix(name, "upgrade:") {
			continue
		}
		visited++
		config := poolOfVersion1(t)
		if result := runChild(t, childJob{Config: config, Failpoint: name}, outcome{}, 0); !result.killed {
			t.Fatalf("the child did not come to %q", name)
		}
		p := get(thinpool.Open(testContext(t), dm, config))(t)
		closed(t, p)
		p = get(thinpool.Open(testContext(t), dm, config))(t)
		checkUpgraded(t, dm, config, p)
		finish(t, dm, p)
		if t.Failed() {
			t.Fatalf("killed at %q", name)
		}
	}
	if visited < 3 {
		t.Errorf("%d failpoints", visited)
	}
}

// TestRefusesNewerRegistry: a registry of a newer version is left as it is. TestDamage has newer labels.
func TestRefusesNewerRegistry(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx, dm, config := testContext(t), client(t), configOn(kerneltest.Disk(t, gib))
	p := open(t, dm, config)
	create(t, p, raw("v", mib))
	if err := p.SetRegistryVersion(ctx, thinpool.RegistryVersion+1); err != nil {
		t.Fatal(err)
	}
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	labels := image(t, config.Source.Devices[0])[:mib]
	// A second time, too: nothing became of the version. (Mounting the registry writes to its file system's superblock.)
	for range 2 {
		_, err := thinpool.Open(ctx, dm, config)
		refused(t, err, thinpool.ErrFormatNewer, "version", "newer")
	}
	if !bytes.Equal(labels, image(t, config.Source.Devices[0])[:mib]) {
		t.Error("the label was written")
	}
}
