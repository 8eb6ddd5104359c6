//go:build kernel

package thinpool_test

import (
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestAdoptLVMPool takes over a pool that LVM made, and has LVM do to it what admins do.
func TestAdoptLVMPool(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	group := newVolumeGroup(t, "vg", kerneltest.Disk(t, 2*gib))
	group.run(t, "lvcreate", "-q", "-y", "--type", "thin-pool", "-L", "400m", "--poolmetadatasize", "32m", "--chunksize", "128k", "-n", "pool", "vg")
	config := configOnPool("/dev/vg/pool")
	pool := get(thinpool.Open(ctx, dm, config))(t)
	before := get(pool.Status(ctx))(t)
	if before.BlockSize != 128<<10 || before.Data.Total != 400*mib || before.DeviceName != "vg-pool" ||
		before.MetadataDevice != "/dev/mapper/vg-pool_tmeta" || len(before.DataDevices) != 1 || before.DataDevices[0] != "/dev/mapper/vg-pool_tdata" {
		t.Errorf("%+v", before)
	}
	create(t, pool, ext4("v", 64*mib))
	directory, unmount := mount(t, activate(t, pool, "v"), filesystem.Ext4)
	writeFile(t, directory+"/f", "content")

	// LVM puts nothing of its own there any more.
	output, err := group.try("lvcreate", "-y", "-T", "vg/pool", "-V", "10m", "-n", "thin")
	if err == nil || !strings.Contains(output, "transaction id") {
		t.Errorf("lvcreate of a thin volume: %v: %s", err, output)
	}
	for _, attempt := range [][]string{{"lvchange", "-an", "vg/pool"}, {"lvremove", "-y", "vg/pool"}} {
		if output, err := group.try(attempt[0], attempt[1:]...); err == nil {
			t.Errorf("%q took the pool away: %s", attempt, output)
		}
	}
	// It makes the pool larger under the volumes, data and metadata.
	group.run(t, "lvextend", "-y", "-L", "+200m", "vg/pool")
	group.run(t, "lvextend", "-y", "--poolmetadatasize", "+16m", "vg/pool")
	after := get(pool.Status(ctx))(t)
	if after.Data.Total != 600*mib || after.Metadata.Total != 48*mib || after.Mode != thinpool.ModeReadWrite || !after.Admitting {
		t.Errorf("after lvextend: %+v", after)
	}
	writeFile(t, directory+"/g", "after lvextend")
	unmount()
	deactivate(t, pool, "v")
	create(t, pool, raw("large", 450*mib)) // fits since then
	checkIDs(t, dm, pool)
	if err := pool.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}

	// Deactivated and activated, as on a boot: LVM does not mind the transaction id, and checks the metadata on the way.
	group.run(t, "lvchange", "-an", "vg/pool")
	refusesAbsent(t, dm, config)
	group.run(t, "lvchange", "-ay", "vg/pool")
	output, err = group.try("lvcreate", "-y", "-T", "vg/pool", "-V", "10m", "-n", "thin")
	if err == nil || !strings.Contains(output, "transaction id") {
		t.Errorf("lvcreate of a thin volume: %v: %s", err, output)
	}
	pool = get(thinpool.Open(ctx, dm, config))(t)
	if again := get(pool.Status(ctx))(t); again.PoolID != before.PoolID || again.Volumes != 2 {
		t.Errorf("%+v became %+v", before, again)
	}
	mounted(t, activate(t, pool, "v"), filesystem.Ext4, func(directory string) {
		expectFile(t, directory+"/f", "content")
		expectFile(t, directory+"/g", "after lvextend")
	})
	deactivate(t, pool, "v")
	// Zeroing switched off by LVM.
	group.run(t, "lvchange", "--zero", "n", "vg/pool")
	_, err = pool.CreateVolume(ctx, raw("w", mib))
	refused(t, err, thinpool.ErrPoolFailed, "skip_block_zeroing")
	group.run(t, "lvchange", "--zero", "y", "vg/pool")
	create(t, pool, raw("w", mib))
	if err := pool.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestAdoptLVMAutoextend fills a pool beyond LVM's threshold and has LVM do what its daemon, dmeventd, does then.
func TestAdoptLVMAutoextend(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	group := newVolumeGroup(t, "vg", kerneltest.Disk(t, gib))
	group.run(t, "lvcreate", "-q", "-y", "--type", "thin-pool", "-L", "200m", "--poolmetadatasize", "32m", "-n", "pool", "vg")
	pool := get(thinpool.Open(ctx, dm, configOnPool("/dev/vg/pool")))(t)
	create(t, pool, raw("v", 100*mib))
	group.run(t, "lvextend", "--use-policies", "vg/pool")
	if status := get(pool.Status(ctx))(t); status.Data.Total != 200*mib {
		t.Errorf("LVM has extended a pool that is not near its threshold: %+v", status.Data)
	}
	if err := fill(t, activate(t, pool, "v"), 100*mib); err != nil {
		t.Fatal(err)
	}
	group.run(t, "lvextend", "--use-policies", "vg/pool")
	if status := get(pool.Status(ctx))(t); status.Data.Total != 240*mib || status.Data.Used != 164*mib {
		t.Errorf("LVM has not extended the pool by its 20%%: %+v", status.Data)
	}
	deactivate(t, pool, "v")
	if err := pool.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestAdoptLVMPoolRefuses: pools that LVM uses itself, or made without zeroing.
func TestAdoptLVMPoolRefuses(t *testing.T) {
	kerneltest.CheckClean(t)
	dm := client(t)
	group := newVolumeGroup(t, "vg", kerneltest.Disk(t, 2*gib))
	group.run(t, "lvcreate", "-q", "-y", "--type", "thin-pool", "-L", "400m", "--zero", "n", "-n", "pool", "vg")
	config := configOnPool("/dev/vg/pool")
	refusesPool(t, dm, config, thinpool.ErrInvalid, "skip_block_zeroing", "lvchange --zero y")
	group.run(t, "lvchange", "--zero", "y", "vg/pool")

	group.run(t, "lvcreate", "-q", "-y", "-T", "vg/pool", "-V", "10m", "-n", "thin")
	layer, inner := configOnPool("/dev/mapper/vg-pool"), configOnPool("/dev/mapper/vg-pool-tpool")
	refusesPool(t, dm, layer, thinpool.ErrInvalid, "source.thinPoolDevice", "LVM has had thin volumes")
	refusesPool(t, dm, inner, thinpool.ErrDeviceInUse, "transaction id")
	group.run(t, "lvremove", "-q", "-y", "vg/thin")
	// It counts on: the pool is LVM's for ever.
	refusesPool(t, dm, layer, thinpool.ErrInvalid, "LVM has had thin volumes")
	refusesPool(t, dm, inner, thinpool.ErrDeviceInUse, "transaction id of /dev/mapper/vg-pool-tpool is 2")
	if status := get(dm.ThinPoolStatus(testContext(t), devicemapper.Name("vg-pool-tpool")))(t); status.TransactionID != 2 {
		t.Errorf("%+v", status)
	}
}

// TestAdoptLVMRepair: LVM's repair of the metadata keeps what csi-dm has there.
func TestAdoptLVMRepair(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	group := newVolumeGroup(t, "vg", kerneltest.Disk(t, 2*gib))
	group.run(t, "lvcreate", "-q", "-y", "--type", "thin-pool", "-L", "400m", "--poolmetadatasize", "32m", "-n", "pool", "vg")
	config := configOnPool("/dev/vg/pool")
	pool := get(thinpool.Open(ctx, dm, config))(t)
	v := create(t, pool, ext4("v", 64*mib))
	mounted(t, activate(t, pool, "v"), filesystem.Ext4, func(directory string) { writeFile(t, directory+"/f", "content") })
	deactivate(t, pool, "v")
	if err := pool.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	group.run(t, "lvchange", "-an", "vg/pool")
	group.run(t, "lvconvert", "-y", "--repair", "vg/pool")
	group.run(t, "lvchange", "-ay", "vg/pool")
	pool = get(thinpool.Open(ctx, dm, config))(t)
	if found := get(pool.Volume("v"))(t); found.ThinID != v.ThinID {
		t.Errorf("%+v became %+v", v, found)
	}
	mounted(t, activate(t, pool, "v"), filesystem.Ext4, func(directory string) { expectFile(t, directory+"/f", "content") })
	deactivate(t, pool, "v")
	checkIDs(t, dm, pool)
	if err := pool.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}
