//go:build kernel

package thinpool_test

import (
	"errors"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// needsCheck sets or clears the flag in the metadata of a pool, which is deactivated meanwhile.
func (p *plainPool) needsCheck(t testing.TB, set bool) {
	t.Helper()
	p.deactivate(t)
	changeSuperblockAt(t, p.metadata, 0, func(block []byte) {
		block[4] &^= 1
		if set {
			block[4] |= 1
		}
	})
	p.activate(t)
}

// TestAdoptNeedsCheck: a pool whose metadata must be checked is not taken over; one that is csi-dm's opens for reading.
func TestAdoptNeedsCheck(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	owned := newPlainPool(t, dm, gib, nil)
	config := owned.config()
	owned.needsCheck(t, true)
	refusesPool(t, dm, config, thinpool.ErrPoolFailed, "source.thinPoolDevice", "thin_check")
	owned.needsCheck(t, false)
	pool := get(thinpool.Open(ctx, dm, config))(t)
	create(t, pool, ext4("v", 64*mib))
	mounted(t, activate(t, pool, "v"), filesystem.Ext4, func(directory string) { writeFile(t, directory+"/f", "content") })
	deactivate(t, pool, "v")
	owned.finishOnPool(t, pool)

	owned.needsCheck(t, true)
	pool = get(thinpool.Open(ctx, dm, config))(t)
	if status := get(pool.Status(ctx))(t); !status.NeedsCheck || status.Admitting || status.Volumes != 1 {
		t.Errorf("%+v", status)
	}
	_, err := pool.CreateVolume(ctx, raw("w", mib))
	refused(t, err, thinpool.ErrPoolFailed, "thin_check")
	run(t, "e2fsck", "-fn", activate(t, pool, "v"))
	deactivate(t, pool, "v")
	if err := pool.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	owned.needsCheck(t, false)
	pool = get(thinpool.Open(ctx, dm, config))(t)
	create(t, pool, raw("w", mib))
	owned.finishOnPool(t, pool)
}

// fail has the disk of the pool's metadata fail, which the kernel notices with the next change of the metadata.
func (p *plainPool) fail(t testing.TB, disk *faultyDisk) {
	t.Helper()
	ctx := testContext(t)
	disk.fail(disk.whole(), failingAll)
	err := errors.Join(p.dm.CreateThin(ctx, p.device, 5), p.dm.DeleteThin(ctx, p.device, 5))
	if status := get(p.dm.ThinPoolStatus(ctx, p.device))(t); status.Mode != devicemapper.PoolModeFailed {
		t.Fatalf("the pool has not failed: %+v (%v)", status, err)
	}
}

// mend is what the pool's owner does about that: a disk that works, and the check that the kernel demands.
func (p *plainPool) mend(t testing.TB, disk *faultyDisk) {
	t.Helper()
	p.deactivate(t)
	disk.heal()
	p.activate(t)
	p.needsCheck(t, false)
}

// TestAdoptFailedPool: the metadata's disk fails under a pool. It is refused, before it is taken over as later, and back
// when its owner has made it well.
func TestAdoptFailedPool(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	disk := newFaultyDisk(t, dm, "metadata-disk", 32*mib)
	owned := newPlainPoolOn(t, dm, disk.path(), gib, nil)
	config := owned.config()
	owned.fail(t, disk)
	_, err := thinpool.Open(ctx, dm, config)
	refused(t, err, thinpool.ErrPoolFailed, "source.thinPoolDevice", `mode "Fail"`)
	owned.mend(t, disk)
	pool := get(thinpool.Open(ctx, dm, config))(t)
	v := create(t, pool, ext4("v", 64*mib))
	owned.finishOnPool(t, pool)
	owned.fail(t, disk)
	_, err = thinpool.Open(ctx, dm, config)
	refused(t, err, thinpool.ErrPoolFailed, "source.thinPoolDevice", `mode "Fail"`)
	owned.mend(t, disk)
	pool = get(thinpool.Open(ctx, dm, config))(t)
	if found := get(pool.Volume("v"))(t); found.ThinID != v.ThinID {
		t.Errorf("%+v became %+v", v, found)
	}
	run(t, "e2fsck", "-fn", activate(t, pool, "v"))
	deactivate(t, pool, "v")
	owned.finishOnPool(t, pool)
}
