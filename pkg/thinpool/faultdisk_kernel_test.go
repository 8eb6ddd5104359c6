//go:build kernel

package thinpool_test

import (
	"fmt"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// faultyDisk is a disk of which a part can be made to fail, and to be well again.
type faultyDisk struct {
	t      testing.TB
	dm     *devicemapper.Client
	device devicemapper.Device
	below  devicemapper.DeviceNumber
	size   int64
}

// part is a run of bytes of a disk.
type part struct{ start, length int64 }

func newFaultyDisk(t testing.TB, dm *devicemapper.Client, name devicemapper.Name, size int64) *faultyDisk {
	t.Helper()
	d := &faultyDisk{t: t, dm: dm, below: devicemapper.DeviceNumberOf(stat(t, kerneltest.Disk(t, size)).Rdev), size: size}
	d.device = get(dm.Activate(testContext(t), name, devicemapper.UUID("TEST-"+name), d.table(part{}, nil)))(t)
	t.Cleanup(func() {
		if _, err := dm.Remove(testContext(t), d.device, devicemapper.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
	return d
}

// path is the disk, as a pool's source names it.
func (d *faultyDisk) path() string { return d.device.Path() }

// table maps the disk, but for a part that is mapped to a target that is given the part's place below.
func (d *faultyDisk) table(failing part, target func(devicemapper.DeviceNumber, devicemapper.Sectors) devicemapper.Target) devicemapper.Table {
	var table devicemapper.Table
	add := func(end int64, make func(devicemapper.DeviceNumber, devicemapper.Sectors) devicemapper.Target) {
		if start := table.Length(); devicemapper.SectorsOf(end) > start {
			table = append(table, devicemapper.Segment{Start: start, Length: devicemapper.SectorsOf(end) - start, Target: make(d.below, start)})
		}
	}
	well := func(device devicemapper.DeviceNumber, start devicemapper.Sectors) devicemapper.Target {
		return devicemapper.Linear{Device: device, OffsetSectors: start}
	}
	if target != nil {
		add(failing.start, well)
		add(failing.start+failing.length, target)
	}
	add(d.size, well)
	return table
}

func (d *faultyDisk) load(table devicemapper.Table) {
	d.t.Helper()
	ctx := testContext(d.t)
	if err := d.dm.Load(ctx, d.device, table, devicemapper.LoadOptions{}); err != nil {
		d.t.Fatal(err)
	}
	if err := d.dm.Suspend(ctx, d.device, devicemapper.SuspendOptions{SkipLockFS: true, NoFlush: true}); err != nil {
		d.t.Fatal(err)
	}
	if err := d.dm.Resume(ctx, d.device); err != nil {
		d.t.Fatal(err)
	}
}

// fail makes a part of the disk a target of faults.
func (d *faultyDisk) fail(failing part, target func(devicemapper.DeviceNumber, devicemapper.Sectors) devicemapper.Target) {
	d.t.Helper()
	d.load(d.table(failing, target))
}

// heal makes the disk well again. What was written meanwhile and failed was not written.
func (d *faultyDisk) heal() {
	d.t.Helper()
	d.load(d.table(part{}, nil))
}

// dust makes a block of 4 KiB of the disk unreadable, until it is written to.
func (d *faultyDisk) dust(at int64) {
	d.t.Helper()
	d.fail(part{at, 4096}, func(device devicemapper.DeviceNumber, start devicemapper.Sectors) devicemapper.Target {
		return devicemapper.Dust{Device: device, OffsetSectors: start, BlockBytes: 4096}
	})
	for _, message := range []string{fmt.Sprintf("addbadblock %d", at/4096), "enable"} {
		if _, err := d.dm.Message(testContext(d.t), d.device, devicemapper.SectorsOf(at), message); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *faultyDisk) whole() part { return part{0, d.size} }

// Targets of faults.
func failingAll(devicemapper.DeviceNumber, devicemapper.Sectors) devicemapper.Target {
	return devicemapper.ErrorTarget{}
}

func failingWrites(device devicemapper.DeviceNumber, start devicemapper.Sectors) devicemapper.Target {
	return devicemapper.Flakey{Device: device, OffsetSectors: start, Down: 3600, ErrorWrites: true}
}
