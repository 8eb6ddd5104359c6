//go:build kernel

package thinpool_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// metadataAt is where the metadata of a pool begins on its first device, in bytes: behind label and registry.
const metadataAt = 65 * mib

// changeSuperblock changes the metadata's superblock of a pool that is not active, and makes its checksum right.
func changeSuperblock(t testing.TB, disk string, change func(block []byte)) {
	t.Helper()
	changeSuperblockAt(t, disk, metadataAt, change)
}

func changeSuperblockAt(t testing.TB, disk string, at int64, change func(block []byte)) {
	t.Helper()
	block := overwrite(t, disk, at, make([]byte, 4096))
	change(block)
	sum := ^crc32.Checksum(block[4:], crc32.MakeTable(crc32.Castagnoli)) ^ 160774
	binary.LittleEndian.PutUint32(block, sum)
	overwrite(t, disk, at, block)
}

// TestNeedsCheck: a pool whose metadata the kernel wants to have checked opens, says so and lets its volumes be read; it
// makes and deletes none.
func TestNeedsCheck(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, disk := client(t), testContext(t), kerneltest.Disk(t, gib)
	config := configOn(disk)
	p := open(t, dm, config)
	create(t, p, ext4("v", 64*mib))
	mounted(t, activate(t, p, "v"), "ext4", func(directory string) { writeFile(t, directory+"/file", "content") })
	deactivate(t, p, "v")
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	changeSuperblock(t, disk, func(block []byte) { block[4] |= 1 })
	p = get(thinpool.Open(ctx, dm, config))(t)
	status := get(p.Status(ctx))(t)
	if !status.NeedsCheck || status.Mode != thinpool.ModeReadOnly || status.Admitting || status.AdmissionReason == "" {
		t.Errorf("%+v", status)
	}
	_, err := p.CreateVolume(ctx, raw("new", mib))
	refused(t, err, thinpool.ErrPoolFailed, "thin_check")
	_, err = p.CreateVolume(ctx, ext4("new", 96*mib))
	refused(t, err, thinpool.ErrPoolFailed, "thin_check")
	device := activate(t, p, "v")
	run(t, "e2fsck", "-fn", device)
	deactivate(t, p, "v")
	// A deletion is recorded, and done when the pool is well again.
	if err := p.DeleteVolume(ctx, "v"); err != nil {
		t.Error(err)
	}
	if _, err := p.Volume("v"); !errors.Is(err, thinpool.ErrVolumeNotFound) {
		t.Errorf("a volume whose deletion is recorded: %v", err)
	}
	if status := get(p.Status(ctx))(t); status.PendingDeletions != 1 {
		t.Errorf("%+v", status)
	}
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	changeSuperblock(t, disk, func(block []byte) { block[4] &^= 1 })
	p = open(t, dm, config)
	drained(t, p)
	if status := get(p.Status(ctx))(t); status.Volumes != 0 || !status.Admitting {
		t.Errorf("%+v", status)
	}
	create(t, p, ext4("v", 64*mib))
}

// TestLeftSuspended: an agent that died between suspend and resume left a volume's and the pool's I/O hanging. Opening
// releases both.
func TestLeftSuspended(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	config := configOn(kerneltest.Disk(t, gib))
	p := open(t, dm, config)
	create(t, p, ext4("v", 64*mib))
	path := activate(t, p, "v")
	directory, unmount := mount(t, path, "ext4")
	status := get(p.Status(ctx))(t)
	volume := get(dm.Info(ctx, devicemapper.Name(status.DeviceName[:len(status.DeviceName)-len("pool")]+"volume-v")))(t)
	closed(t, p)
	if err := dm.Suspend(ctx, volume.Device, devicemapper.SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := dm.Suspend(ctx, devicemapper.Name(status.DeviceName), devicemapper.SuspendOptions{NoFlush: true}); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		defer close(written)
		writeFile(t, directory+"/file", "content") // hangs until the pool is opened
	}()
	p = open(t, dm, config)
	<-written
	expectFile(t, directory+"/file", "content")
	unmount()
	deactivate(t, p, "v")
}

// TestForeignDevices: names that the pool needs are taken, by a device of somebody else and by one of its own on another
// thin id.
func TestForeignDevices(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	p := open(t, dm, configOn(kerneltest.Disk(t, gib)))
	v, other := create(t, p, raw("v", 64*mib)), create(t, p, raw("other", 64*mib))
	status := get(p.Status(ctx))(t)
	prefix := devicemapper.Name(status.DeviceName[:len(status.DeviceName)-len("pool")])
	pool := get(dm.Info(ctx, devicemapper.Name(status.DeviceName)))(t)
	thin := func(id uint32) devicemapper.Table {
		return devicemapper.Table{{Length: devicemapper.SectorsOf(64 * mib), Target: devicemapper.Thin{Pool: pool.Number, ID: devicemapper.ThinID(id)}}}
	}
	remove := func(device devicemapper.Device) {
		t.Helper()
		if _, err := dm.Remove(ctx, device, devicemapper.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	}
	squatter := get(dm.Activate(ctx, prefix+"volume-v", "", devicemapper.Table{{Length: 8, Target: devicemapper.Zero{}}}))(t)
	_, err := p.Activate(ctx, "v")
	refused(t, err, thinpool.ErrForeignPool, "volume-v")
	remove(squatter)

	wrong := get(dm.Activate(ctx, prefix+"volume-v", devicemapper.UUID("CSIDM-"+status.PoolID+"-thin-"+itoa(v.ThinID)), thin(other.ThinID)))(t)
	_, err = p.Activate(ctx, "v")
	refused(t, err, thinpool.ErrSourceChanged, "volume-v")
	remove(wrong)

	renamed := get(dm.Activate(ctx, prefix+"elsewhere", devicemapper.UUID("CSIDM-"+status.PoolID+"-thin-"+itoa(v.ThinID)), thin(v.ThinID)))(t)
	_, err = p.Activate(ctx, "v")
	refused(t, err, thinpool.ErrPoolDamaged, "elsewhere")
	remove(renamed)

	activate(t, p, "v")
	deactivate(t, p, "v")
}

// TestBusyLeftover: somebody holds open the device of a volume whose deletion an earlier process has recorded. The pool
// opens, serves the others, and finishes the deletion when the device is free.
func TestBusyLeftover(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, config := client(t), testContext(t), configOn(kerneltest.Disk(t, gib))
	if result := runChild(t, childJob{Config: config, Script: "life", Failpoint: "delete: intent durable"}, outcome{}, 0); !result.killed {
		t.Fatal("the child was not killed")
	}
	var pool devicemapper.Info
	for _, device := range get(dm.List(ctx))(t) {
		if strings.HasSuffix(string(device.Name), "-pool") {
			pool = get(dm.Info(ctx, device))(t)
		}
	}
	// The script deletes "b", which has thin id 2: the base is 0, "a" is 1.
	id := strings.TrimSuffix(strings.TrimPrefix(string(pool.UUID), "CSIDM-"), "-pool")
	table := devicemapper.Table{{Length: devicemapper.SectorsOf(64 * mib), Target: devicemapper.Thin{Pool: pool.Number, ID: 2}}}
	prefix := strings.TrimSuffix(string(pool.Name), "pool")
	device := get(dm.Activate(ctx, devicemapper.Name(prefix+"volume-b"), devicemapper.UUID("CSIDM-"+id+"-thin-2"), table))(t)
	holder := get(os.Open(device.Path()))(t)

	p := open(t, dm, config)
	// The script evicts bases as well, and these go.
	for deadline := time.Now().Add(20 * time.Second); get(p.Status(ctx))(t).PendingDeletions > 1 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if status := get(p.Status(ctx))(t); status.PendingDeletions != 1 || status.UnknownThinDevices != 0 {
		t.Errorf("%+v", status)
	}
	activate(t, p, "a")
	deactivate(t, p, "a")
	if err := p.DeleteVolume(ctx, "b"); err != nil {
		t.Errorf("deleting what is deleted: %v", err)
	}
	if again := create(t, p, ext4("b", 64*mib)); again.ThinID == 2 {
		t.Error("a volume got the thin id of the one whose deletion is pending")
	}
	if status := get(p.Status(ctx))(t); status.PendingDeletions != 1 {
		t.Errorf("while the device is open: %+v", status)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	drained(t, p)
	activate(t, p, "b")
	deactivate(t, p, "b")
}
