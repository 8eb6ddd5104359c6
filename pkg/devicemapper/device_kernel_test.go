//go:build kernel

package devicemapper_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// A device comes into being step by step, and each step shows.
func TestDeviceLife(t *testing.T) {
	ctx, c := open(t)
	below := disk(t, 4*mebibyte)

	device, err := c.Create(ctx, "life", "TEST-life")
	if err != nil {
		t.Fatal(err)
	}
	removeAtEnd(ctx, t, c, device)
	want := devicemapper.Info{Device: device}
	expectInfo(ctx, t, c, device, want)
	if _, err := c.Table(ctx, device, devicemapper.TableOptions{}); !errors.Is(err, devicemapper.ErrNoTable) {
		t.Errorf("table of a new device: %v, want ErrNoTable", err)
	}

	table := linear(below, 2048, 2048)
	if err := c.Load(ctx, device, table, devicemapper.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	want.InactiveTable = true
	expectInfo(ctx, t, c, device, want)
	expectTable(ctx, t, c, device, devicemapper.TableOptions{Inactive: true}, table)
	if _, err := os.Stat(device.Path()); err != nil {
		t.Errorf("no node after load: %v", err)
	}

	if err := c.Resume(ctx, device); err != nil {
		t.Fatal(err)
	}
	want.InactiveTable, want.LiveTable, want.Segments = false, true, 1
	expectInfo(ctx, t, c, device, want)
	expectTable(ctx, t, c, device, devicemapper.TableOptions{}, table)
	if _, err := c.Table(ctx, device, devicemapper.TableOptions{Inactive: true}); !errors.Is(err, devicemapper.ErrNoTable) {
		t.Errorf("inactive table after resume: %v, want ErrNoTable", err)
	}
	if numberOf(t, device.Path()) != device.Number {
		t.Errorf("%s has number %v, want %v", device.Path(), numberOf(t, device.Path()), device.Number)
	}

	// What is written to the device arrives below at its offset.
	file := direct(t, device.Path())
	if _, err := file.WriteAt(block('x'), 8192); err != nil {
		t.Fatal(err)
	}
	file.Close()
	got := block(0)
	if _, err := direct(t, node(below)).ReadAt(got, 2048*devicemapper.SectorSize+8192); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, block('x')) {
		t.Error("the write did not arrive at sector 2048 of the device below")
	}

	// A longer table makes the device longer.
	longer := append(linear(below, 2048, 2048), devicemapper.Segment{Start: 2048, Length: 1024, Target: devicemapper.Zero{}},
		devicemapper.Segment{Start: 3072, Length: 1024, Target: devicemapper.ErrorTarget{}})
	if err := c.Load(ctx, device, longer, devicemapper.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(ctx, device); err != nil {
		t.Fatal(err)
	}
	expectTable(ctx, t, c, device, devicemapper.TableOptions{}, longer)
	file = direct(t, device.Path())
	if end, err := file.Seek(0, 2); err != nil || end != longer.Length().Bytes() {
		t.Errorf("size %d, %v, want %d", end, err, longer.Length().Bytes())
	}
	if _, err := file.ReadAt(got, 2048*devicemapper.SectorSize); err != nil || !bytes.Equal(got, block(0)) {
		t.Errorf("the zero segment does not read as zeros: %v", err)
	}
	if _, err := file.ReadAt(got, 3072*devicemapper.SectorSize); !errors.Is(err, syscall.EIO) {
		t.Errorf("the error segment reads with %v, want EIO", err)
	}
	want.Segments, want.OpenCount = 3, 1
	expectInfo(ctx, t, c, device, want)
	file.Close()

	if deferred, err := c.Remove(ctx, device, devicemapper.RemoveOptions{}); err != nil || deferred {
		t.Fatalf("remove: %v, %v", deferred, err)
	}
	if _, err := os.Stat(device.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the node is still there: %v", err)
	}
}

// node is the path of a device that is not device mapper's.
func node(n devicemapper.DeviceNumber) string {
	target, err := os.Readlink("/sys/dev/block/" + n.String())
	if err != nil {
		panic(err)
	}
	return "/dev/" + filepath.Base(target)
}

func expectInfo(ctx context.Context, t *testing.T, c *devicemapper.Client, ref devicemapper.Ref, want devicemapper.Info) {
	t.Helper()
	got, err := c.Info(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	want.EventNumber = got.EventNumber
	if got != want {
		t.Errorf("info of %s:\n got %#v\nwant %#v", ref, got, want)
	}
}

func expectTable(ctx context.Context, t *testing.T, c *devicemapper.Client, ref devicemapper.Ref, options devicemapper.TableOptions, want devicemapper.Table) {
	t.Helper()
	got, err := c.Table(ctx, ref, options)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("table of %s:\n got %v\nwant %v", ref, got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("segment %d of %s:\n got %#v\nwant %#v", i, ref, got[i], want[i])
		}
	}
}

// Each kind of Ref reaches the same device.
func TestRefs(t *testing.T) {
	ctx, c := open(t)
	device := activate(ctx, t, c, "refs", devicemapper.Table{{Length: 8, Target: devicemapper.Zero{}}})
	nameless := activate(ctx, t, c, "other", devicemapper.Table{{Length: 8, Target: devicemapper.Zero{}}})
	nameless.UUID = "" // as it is for a device made without one
	for _, ref := range []devicemapper.Ref{device, device.Name, device.UUID, device.Number} {
		info, err := c.Info(ctx, ref)
		if err != nil || info.Device != device {
			t.Errorf("%T: %+v, %v, want %+v", ref, info.Device, err, device)
		}
	}
	if info, err := c.Info(ctx, nameless); err != nil || info.Number != nameless.Number {
		t.Errorf("by name: %+v, %v", info, err)
	}
}

func TestCreateWithoutUUID(t *testing.T) {
	ctx, c := open(t)
	device, err := c.Create(ctx, "bare", "")
	if err != nil {
		t.Fatal(err)
	}
	removeAtEnd(ctx, t, c, device)
	expectInfo(ctx, t, c, device, devicemapper.Info{Device: device})
	if device.UUID != "" {
		t.Errorf("UUID %q", device.UUID)
	}
}

func TestLoadReadOnly(t *testing.T) {
	ctx, c := open(t)
	device, err := c.Create(ctx, "read-only", "")
	if err != nil {
		t.Fatal(err)
	}
	removeAtEnd(ctx, t, c, device)
	if err := c.Load(ctx, device, linear(disk(t, mebibyte), 0, 8), devicemapper.LoadOptions{ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(ctx, device); err != nil {
		t.Fatal(err)
	}
	expectInfo(ctx, t, c, device, devicemapper.Info{Device: device, ReadOnly: true, LiveTable: true, Segments: 1})
	file := direct(t, device.Path())
	defer file.Close()
	if _, err := file.WriteAt(block(1), 0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("write: %v, want EPERM", err)
	}
}

func TestClear(t *testing.T) {
	ctx, c := open(t)
	zero := devicemapper.Table{{Length: 8, Target: devicemapper.Zero{}}}
	device := activate(ctx, t, c, "clear", zero)
	if err := c.Load(ctx, device, devicemapper.Table{{Length: 16, Target: devicemapper.Zero{}}}, devicemapper.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Clear(ctx, device); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(ctx, device); err != nil {
		t.Fatal(err)
	}
	expectTable(ctx, t, c, device, devicemapper.TableOptions{}, zero)
}

// A table too large for the first buffer goes in and comes out again.
func TestLargeTable(t *testing.T) {
	ctx, c := open(t)
	below := disk(t, mebibyte)
	var table devicemapper.Table
	for i := range 500 {
		table = append(table, devicemapper.Segment{
			Start: devicemapper.Sectors(i), Length: 1,
			Target: devicemapper.Linear{Device: below, OffsetSectors: devicemapper.Sectors(1000 - i)},
		})
	}
	device := activate(ctx, t, c, "large", table)
	expectTable(ctx, t, c, device, devicemapper.TableOptions{}, table)
	if err := c.Load(ctx, device, table, devicemapper.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	expectTable(ctx, t, c, device, devicemapper.TableOptions{Inactive: true}, table)
}

// Activate leaves nothing where it fails, and does not touch a device that
// has the name already.
func TestActivateUndone(t *testing.T) {
	ctx, c := open(t)
	zero := devicemapper.Table{{Length: 8, Target: devicemapper.Zero{}}}
	missing := linear(devicemapper.DeviceNumber{Major: 240, Minor: 9}, 0, 8)
	if _, err := c.Activate(ctx, "undone", "TEST-undone", missing); !errors.Is(err, devicemapper.ErrUnderlyingNotExist) {
		t.Errorf("activate on a missing device: %v", err)
	}
	if _, err := c.Info(ctx, devicemapper.Name("undone")); !errors.Is(err, devicemapper.ErrNotExist) {
		t.Errorf("the device was left: %v", err)
	}
	// Too long for the device below: only resume finds out about some tables,
	// load about this one.
	if _, err := c.Activate(ctx, "undone", "", linear(disk(t, mebibyte), 0, 1<<40)); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("activate beyond the end: %v", err)
	}

	device := activate(ctx, t, c, "taken", zero)
	if _, err := c.Activate(ctx, "taken", "TEST-other", zero); !errors.Is(err, devicemapper.ErrExist) {
		t.Errorf("activate under a taken name: %v", err)
	}
	if _, err := c.Activate(ctx, "free", device.UUID, zero); !errors.Is(err, devicemapper.ErrExist) {
		t.Errorf("activate under a taken UUID: %v", err)
	}
	expectTable(ctx, t, c, device, devicemapper.TableOptions{}, zero)
}

func TestClosedClient(t *testing.T) {
	ctx, c := open(t)
	other, err := devicemapper.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := other.List(ctx); !errors.Is(err, os.ErrClosed) {
		t.Errorf("list on a closed client: %v, want os.ErrClosed", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Create(ended, "never", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("create in an ended context: %v", err)
	}
}
