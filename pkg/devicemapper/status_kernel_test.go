//go:build kernel

package devicemapper_test

import (
	"bytes"
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

func poolStatus(ctx context.Context, t *testing.T, c *devicemapper.Client, p pool) devicemapper.ThinPoolStatus {
	t.Helper()
	status, err := c.ThinPoolStatus(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func expectThin(ctx context.Context, t *testing.T, c *devicemapper.Client, ref devicemapper.Ref, want devicemapper.ThinStatus) {
	t.Helper()
	got, err := c.ThinStatus(ctx, ref)
	if err != nil || got != want {
		t.Errorf("status of %s: %+v, %v, want %+v", ref, got, err, want)
	}
}

// The figures of pool and thin follow what is written, shared and deleted.
func TestThinFigures(t *testing.T) {
	ctx, c := open(t)
	p := newPool(ctx, t, c, 64*mebibyte, nil)
	origin := p.thin(ctx, t, c, 1, 8*mebibyte)
	expectThin(ctx, t, c, origin, devicemapper.ThinStatus{State: devicemapper.ThinStateOK})
	status := poolStatus(ctx, t, c, p)
	want := devicemapper.ThinPoolStatus{
		Mode: devicemapper.PoolModeReadWrite, TotalMetadata: 4096, UsedMetadata: status.UsedMetadata, TotalData: 1024,
		Discards: devicemapper.DiscardPassdown, MetadataLowWater: status.MetadataLowWater,
	}
	if status != want || status.UsedMetadata == 0 || status.MetadataLowWater == 0 {
		t.Errorf("status of a fresh pool:\n got %+v\nwant %+v", status, want)
	}

	fill(t, origin.Path(), 2, 3)
	expectThin(ctx, t, c, origin, devicemapper.ThinStatus{State: devicemapper.ThinStateOK, MappedSectors: 3 * 128, MappedEnd: 5 * 128})
	if got := poolStatus(ctx, t, c, p).UsedData; got != 3 {
		t.Errorf("%d data blocks used, want 3", got)
	}

	if err := c.Suspend(ctx, origin, devicemapper.SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateSnapshot(ctx, p, 2, 1); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(ctx, origin); err != nil {
		t.Fatal(err)
	}
	snapshot := activate(ctx, t, c, "snapshot", p.thinTable(2, 8*mebibyte))
	fill(t, snapshot.Path(), 4, 2) // one shared block broken, one new
	expectThin(ctx, t, c, snapshot, devicemapper.ThinStatus{State: devicemapper.ThinStateOK, MappedSectors: 4 * 128, MappedEnd: 6 * 128})
	expectThin(ctx, t, c, origin, devicemapper.ThinStatus{State: devicemapper.ThinStateOK, MappedSectors: 3 * 128, MappedEnd: 5 * 128})
	if got := poolStatus(ctx, t, c, p).UsedData; got != 5 {
		t.Errorf("%d data blocks used, want 5", got)
	}
	got := block(0)
	if _, err := direct(t, snapshot.Path()).ReadAt(got, 2*128*devicemapper.SectorSize); err != nil || !bytes.Equal(got, block(0xA5)) {
		t.Errorf("the snapshot does not have its origin's data: %v", err)
	}
}

func TestThinStatusOfOthers(t *testing.T) {
	ctx, c := open(t)
	p := newPool(ctx, t, c, 64*mebibyte, nil)
	if _, err := c.ThinStatus(ctx, p); !errors.Is(err, devicemapper.ErrInvalid) {
		t.Errorf("thin status of a pool: %v, want ErrInvalid", err)
	}
	two := activate(ctx, t, c, "two", devicemapper.Table{{Length: 8, Target: devicemapper.Zero{}}, {Start: 8, Length: 8, Target: devicemapper.Zero{}}})
	if _, err := c.ThinPoolStatus(ctx, two); !errors.Is(err, devicemapper.ErrInvalid) {
		t.Errorf("pool status of two zeros: %v, want ErrInvalid", err)
	}
}

// Tables of pools and thins come back as they went in, with every feature.
func TestPoolTables(t *testing.T) {
	ctx, c := open(t)
	for name, change := range map[string]func(*devicemapper.ThinPool){
		"plain":               func(*devicemapper.ThinPool) {},
		"low water":           func(p *devicemapper.ThinPool) { p.LowWaterBlocks = 77 },
		"large blocks":        func(p *devicemapper.ThinPool) { p.BlockSectors = 2048 },
		"error_if_no_space":   func(p *devicemapper.ThinPool) { p.ErrorIfNoSpace = true },
		"no_discard_passdown": func(p *devicemapper.ThinPool) { p.NoDiscardPassdown = true },
		"ignore_discard":      func(p *devicemapper.ThinPool) { p.IgnoreDiscard = true },
		"all": func(p *devicemapper.ThinPool) {
			p.IgnoreDiscard, p.NoDiscardPassdown, p.ErrorIfNoSpace = true, true, true
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(ctx, t, c, 64*mebibyte, change)
			expectTable(ctx, t, c, p, devicemapper.TableOptions{}, p.table())
			status := poolStatus(ctx, t, c, p)
			discards := devicemapper.DiscardPassdown
			if p.target.NoDiscardPassdown {
				discards = devicemapper.DiscardNoPassdown
			}
			if p.target.IgnoreDiscard {
				discards = devicemapper.DiscardIgnore
			}
			if status.Discards != discards || status.ErrorIfNoSpace != p.target.ErrorIfNoSpace || !status.Healthy() {
				t.Errorf("status %+v of %s", status, p.table())
			}
			thin := p.thin(ctx, t, c, 5, 8*mebibyte)
			expectTable(ctx, t, c, thin, devicemapper.TableOptions{}, p.thinTable(5, 8*mebibyte))
		})
	}
}

func TestExternalOrigin(t *testing.T) {
	ctx, c := open(t)
	origin := disk(t, 8*mebibyte)
	if _, err := direct(t, node(origin)).WriteAt(block('o'), 0); err != nil {
		t.Fatal(err)
	}
	p := newPool(ctx, t, c, 64*mebibyte, nil)
	if err := c.CreateThin(ctx, p, 1); err != nil {
		t.Fatal(err)
	}
	table := devicemapper.Table{{Length: devicemapper.SectorsOf(8 * mebibyte), Target: devicemapper.Thin{Pool: p.Number, ID: 1, ExternalOrigin: origin}}}
	device := activate(ctx, t, c, "external", table)
	expectTable(ctx, t, c, device, devicemapper.TableOptions{}, table)
	got := block(0)
	if _, err := direct(t, device.Path()).ReadAt(got, 0); err != nil || !bytes.Equal(got, block('o')) {
		t.Errorf("the origin's data is not there: %v", err)
	}
}

// A pool that somebody made with skip_block_zeroing is seen as such.
func TestSkipBlockZeroingIsSeen(t *testing.T) {
	ctx, c := open(t)
	p := newPool(ctx, t, c, 64*mebibyte, nil)
	raw := devicemapper.Table{{Length: p.size, Target: devicemapper.RawTarget{
		TargetType: "thin-pool", Params: p.target.Metadata.String() + " " + p.target.Data.String() + " 128 0 1 skip_block_zeroing",
	}}}
	if err := c.Load(ctx, p, raw, devicemapper.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(ctx, p); err != nil {
		t.Fatal(err)
	}
	p.target.SkipBlockZeroing = true
	expectTable(ctx, t, c, p, devicemapper.TableOptions{}, p.table())
	if err := c.Load(ctx, p, p.table(), devicemapper.LoadOptions{}); !errors.Is(err, devicemapper.ErrInvalid) {
		t.Errorf("load with skip_block_zeroing: %v, want ErrInvalid", err)
	}
}

// A pool that is full says so; grown, it goes on.
func TestPoolOutOfDataSpace(t *testing.T) {
	ctx, c := open(t)
	p := newPool(ctx, t, c, 8*mebibyte, func(p *devicemapper.ThinPool) {
		p.ErrorIfNoSpace = true
		p.Data = disk(t, 16*mebibyte)
	})
	thin := p.thin(ctx, t, c, 1, 16*mebibyte)
	fill(t, thin.Path(), 0, 128)
	file := direct(t, thin.Path())
	defer file.Close()
	if _, err := file.WriteAt(block(1), 8*mebibyte); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write to a full pool: %v, want ENOSPC", err)
	}
	status := poolStatus(ctx, t, c, p)
	if status.Mode != devicemapper.PoolModeOutOfDataSpace || !status.Healthy() || status.FreeData() != 0 || !status.ErrorIfNoSpace {
		t.Errorf("status of a full pool: %+v", status)
	}

	p.size *= 2
	if err := c.Load(ctx, p, p.table(), devicemapper.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Suspend(ctx, p, devicemapper.SuspendOptions{NoFlush: true}); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(ctx, p); err != nil {
		t.Fatal(err)
	}
	status = poolStatus(ctx, t, c, p)
	if status.Mode != devicemapper.PoolModeReadWrite || status.FreeData() != 128 {
		t.Errorf("status of the grown pool: %+v", status)
	}
	if _, err := file.WriteAt(block(1), 8*mebibyte); err != nil {
		t.Errorf("write to the grown pool: %v", err)
	}
}

// A pool does not shrink: the kernel says so when the table is resumed.
func TestPoolDoesNotShrink(t *testing.T) {
	ctx, c := open(t)
	p := newPool(ctx, t, c, 64*mebibyte, nil)
	shrunk := p
	shrunk.size /= 2
	if err := c.Load(ctx, p, shrunk.table(), devicemapper.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	expectRefusal(t, "resume of a smaller pool", c.Resume(ctx, p), syscall.EINVAL, nil)
	if err := c.Load(ctx, p, p.table(), devicemapper.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(ctx, p); err != nil {
		t.Errorf("resume with the old size: %v", err)
	}
	if _, err := c.Remove(ctx, p, devicemapper.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Activate(ctx, "shrunk", "", shrunk.table())
	expectRefusal(t, "activation with a smaller size", err, syscall.EINVAL, nil)
	if _, err := c.Info(ctx, devicemapper.Name("shrunk")); !errors.Is(err, devicemapper.ErrNotExist) {
		t.Errorf("the device was left: %v", err)
	}
}

// Status leaves the pool uncommitted unless it is told to flush.
func TestStatusCommitsOnlyOnFlush(t *testing.T) {
	ctx, c := open(t)
	p := newPool(ctx, t, c, 64*mebibyte, nil)
	thin := p.thin(ctx, t, c, 1, 8*mebibyte)
	file := direct(t, thin.Path())
	defer file.Close()
	metadata := direct(t, node(p.target.Metadata))
	superblock := func() []byte {
		memory := block(0)
		if _, err := metadata.ReadAt(memory, 0); err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(memory)
	}
	// The kernel commits once a second by itself. One round without such a
	// commit in it suffices.
	for round := int64(0); round < 20; round++ {
		before := superblock()
		if _, err := file.WriteAt(block(1), round*128*devicemapper.SectorSize); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Status(ctx, p, devicemapper.StatusOptions{}); err != nil {
			t.Fatal(err)
		}
		without := superblock()
		status, err := c.Status(ctx, p, devicemapper.StatusOptions{Flush: true})
		if err != nil {
			t.Fatal(err)
		}
		if parsed, err := devicemapper.ParseThinPoolStatus(status[0].Text); err != nil || parsed.UsedData != devicemapper.DataBlocks(round+1) {
			t.Errorf("status %q, %v, want %d blocks used", status[0].Text, err, round+1)
		}
		if bytes.Equal(superblock(), without) {
			t.Fatal("status with Flush did not commit")
		}
		if bytes.Equal(before, without) {
			return
		}
	}
	t.Error("status without Flush committed in each of 20 rounds")
}
