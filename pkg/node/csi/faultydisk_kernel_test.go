//go:build kernel

package csi

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// faultyDisk is a disk that can be made to fail, and to be well again.
type faultyDisk struct {
	t      *testing.T
	dm     *devicemapper.Client
	device devicemapper.Device
	well   devicemapper.Table
}

func newFaultyDisk(t *testing.T, dm *devicemapper.Client, size int64) *faultyDisk {
	t.Helper()
	var below unix.Stat_t
	must(t, unix.Stat(kerneltest.Disk(t, size), &below))
	d := &faultyDisk{t: t, dm: dm, well: devicemapper.Table{{Length: devicemapper.SectorsOf(size), Target: devicemapper.Linear{Device: devicemapper.DeviceNumberOf(below.Rdev)}}}}
	var err error
	d.device, err = dm.Activate(t.Context(), "faulty", "TEST-faulty", d.well)
	must(t, err)
	t.Cleanup(func() {
		if _, err := dm.Remove(context.Background(), d.device, devicemapper.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *faultyDisk) fail() {
	d.load(devicemapper.Table{{Length: d.well.Length(), Target: devicemapper.ErrorTarget{}}})
}

func (d *faultyDisk) heal() { d.load(d.well) }

func (d *faultyDisk) load(table devicemapper.Table) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	must(d.t, d.dm.Load(ctx, d.device, table, devicemapper.LoadOptions{}))
	must(d.t, d.dm.Suspend(ctx, d.device, devicemapper.SuspendOptions{SkipLockFS: true, NoFlush: true}))
	must(d.t, d.dm.Resume(ctx, d.device))
}
