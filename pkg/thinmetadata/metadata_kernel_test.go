//go:build kernel

package thinmetadata_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestDetailsAgreeWithThinLs makes pools at random and compares what this package reads of them, live, with thin_ls of
// thin-provisioning-tools.
func TestDetailsAgreeWithThinLs(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	dm, err := devicemapper.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer dm.Close()
	metadata, data := kerneltest.Disk(t, 32<<20), kerneltest.Disk(t, 256<<20)
	pool, err := dm.Activate(ctx, "details", "", devicemapper.Table{{Length: devicemapper.SectorsOf(256 << 20), Target: devicemapper.ThinPool{
		Metadata: number(t, metadata), Data: number(t, data), BlockSectors: 128,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := dm.Remove(ctx, pool, devicemapper.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	}()
	r := rand.New(rand.NewPCG(1, 2))
	made := []devicemapper.ThinID{}
	snapshots := uint32(0)
	for round := range 4 {
		for range []int{1, 20, 400, 3000}[round] {
			id := devicemapper.ThinID(r.Uint32N(1 << 24))
			if len(made) == 0 || r.IntN(2) == 0 {
				err = dm.CreateThin(ctx, pool, id)
			} else {
				err = dm.CreateSnapshot(ctx, pool, id, made[r.IntN(len(made))])
				if err == nil {
					snapshots++
				}
			}
			if err != nil && !errors.Is(err, devicemapper.ErrThinExist) {
				t.Fatal(err)
			}
			if err == nil {
				made = append(made, id)
			}
		}
		write(ctx, t, dm, pool, made[r.IntN(len(made))], 1+r.IntN(20))
		compare(ctx, t, dm, pool, metadata, snapshots)
	}
}

func number(t *testing.T, path string) devicemapper.DeviceNumber {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return devicemapper.DeviceNumberOf(stat.Rdev)
}

// write maps some blocks of a thin device.
func write(ctx context.Context, t *testing.T, dm *devicemapper.Client, pool devicemapper.Device, id devicemapper.ThinID, blocks int) {
	t.Helper()
	device, err := dm.Activate(ctx, "written", "", devicemapper.Table{{Length: 128 * 64, Target: devicemapper.Thin{Pool: pool.Number, ID: id}}})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(device.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.Write(make([]byte, blocks*64<<10))
	err = errors.Join(err, file.Sync(), file.Close())
	if _, removeErr := dm.Remove(ctx, device, devicemapper.RemoveOptions{}); errors.Join(err, removeErr) != nil {
		t.Fatal(err, removeErr)
	}
}

func compare(ctx context.Context, t *testing.T, dm *devicemapper.Client, pool devicemapper.Device, metadata string, snapshots uint32) {
	t.Helper()
	if err := dm.ReserveMetadataSnapshot(ctx, pool); err != nil {
		t.Fatal(err)
	}
	status, err := dm.ThinPoolStatus(ctx, pool)
	if err != nil {
		t.Fatal(err)
	}
	device, err := thinmetadata.Open(metadata)
	if err != nil {
		t.Fatal(err)
	}
	superblock, err := device.ReadSuperblock(uint64(status.HeldMetadataRoot))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	details, err := device.Details(ctx, superblock)
	took := time.Since(began)
	if err := errors.Join(err, device.Close()); err != nil {
		t.Fatal(err)
	}
	output, err := exec.Command("thin_ls", "--metadata-snap", "--no-headers", "--format", "DEV,MAPPED_BLOCKS,CREATE_TIME,SNAP_TIME,TRANSACTION", metadata).CombinedOutput()
	if err := errors.Join(err, dm.ReleaseMetadataSnapshot(ctx, pool)); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	if len(lines) != len(details) {
		t.Fatalf("%d thin devices, thin_ls lists %d", len(details), len(lines))
	}
	for i, line := range lines {
		d := details[i]
		own := []uint64{uint64(d.ThinID), d.MappedBlocks, uint64(d.CreationTime), uint64(d.SnapshotTime), d.TransactionID}
		for j, field := range strings.Fields(line) {
			if want, err := strconv.ParseUint(field, 10, 64); err != nil || own[j] != want {
				t.Fatalf("read %+v, thin_ls says %q", d, line)
			}
		}
	}
	if superblock.Time != snapshots || superblock.DataBlockSize != 128 || superblock.MetadataBlocks != 32<<20/4096 {
		t.Errorf("%d snapshots were made, the superblock is %+v", snapshots, superblock)
	}
	t.Logf("read %d thin devices in %s", len(details), took)
}
