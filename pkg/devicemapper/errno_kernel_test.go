//go:build kernel

package devicemapper_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// expectRefusal demands the kernel's very number and, where there is one, the
// sentinel that stands for it.
func expectRefusal(t *testing.T, what string, err error, errno syscall.Errno, meaning error) {
	t.Helper()
	var refused *devicemapper.Error
	if !errors.As(err, &refused) {
		t.Errorf("%s: %v, want an *Error with %v", what, err, errno)
		return
	}
	if refused.Errno != errno || (errno != 0 && !errors.Is(err, errno)) {
		t.Errorf("%s: errno %d (%v), want %d (%v)", what, refused.Errno, refused.Errno, errno, errno)
	}
	if meaning != nil && !errors.Is(err, meaning) {
		t.Errorf("%s: %v does not match %q", what, err, meaning)
	}
	t.Logf("%s: %v", what, err)
}

func TestErrnoOfDevices(t *testing.T) {
	ctx, c := open(t)
	zero := devicemapper.Table{{Length: 8, Target: devicemapper.Zero{}}}
	device := activate(ctx, t, c, "device", zero)
	gone := devicemapper.Name("gone")

	_, err := c.Create(ctx, "device", "")
	expectRefusal(t, "create with a taken name", err, syscall.EBUSY, devicemapper.ErrExist)
	if errors.Is(err, devicemapper.ErrBusy) {
		t.Error("a taken name is also ErrBusy")
	}
	_, err = c.Create(ctx, "device-2", device.UUID)
	expectRefusal(t, "create with a taken UUID", err, syscall.EBUSY, devicemapper.ErrExist)
	_, err = c.Info(ctx, gone)
	expectRefusal(t, "info of none", err, syscall.ENXIO, devicemapper.ErrNotExist)
	_, err = c.Info(ctx, devicemapper.UUID("TEST-gone"))
	expectRefusal(t, "info of no UUID", err, syscall.ENXIO, devicemapper.ErrNotExist)
	_, err = c.Info(ctx, devicemapper.DeviceNumber{Major: device.Number.Major, Minor: 4711})
	expectRefusal(t, "info of no number", err, syscall.ENXIO, devicemapper.ErrNotExist)
	_, err = c.Status(ctx, gone, devicemapper.StatusOptions{})
	expectRefusal(t, "status of none", err, syscall.ENXIO, devicemapper.ErrNotExist)
	_, err = c.Remove(ctx, gone, devicemapper.RemoveOptions{Deferred: true})
	expectRefusal(t, "remove of none", err, syscall.ENXIO, devicemapper.ErrNotExist)
	_, err = c.Message(ctx, gone, 0, "anything")
	expectRefusal(t, "message to none", err, syscall.ENXIO, devicemapper.ErrNotExist)
	expectRefusal(t, "suspend of none", c.Suspend(ctx, gone, devicemapper.SuspendOptions{}), syscall.ENXIO, devicemapper.ErrNotExist)
	expectRefusal(t, "resume of none", c.Resume(ctx, gone), syscall.ENXIO, devicemapper.ErrNotExist)
	expectRefusal(t, "clear of none", c.Clear(ctx, gone), syscall.ENXIO, devicemapper.ErrNotExist)
	expectRefusal(t, "load of none", c.Load(ctx, gone, zero, devicemapper.LoadOptions{}), syscall.ENXIO, devicemapper.ErrNotExist)

	missing := linear(devicemapper.DeviceNumber{Major: 240, Minor: 9}, 0, 8)
	err = c.Load(ctx, device, missing, devicemapper.LoadOptions{})
	expectRefusal(t, "load onto a missing device", err, syscall.ENXIO, devicemapper.ErrUnderlyingNotExist)
	if errors.Is(err, devicemapper.ErrNotExist) {
		t.Error("a missing device below is also ErrNotExist")
	}
	unknown := devicemapper.Table{{Length: 8, Target: devicemapper.RawTarget{TargetType: "no-such-target"}}}
	expectRefusal(t, "load of an unknown target", c.Load(ctx, device, unknown, devicemapper.LoadOptions{}), syscall.EINVAL, nil)
	_, err = c.Message(ctx, device, 0, "anything")
	expectRefusal(t, "message to a target that takes none", err, syscall.EINVAL, nil)

	held := disk(t, mebibyte)
	exclusive, err := os.OpenFile(node(held), os.O_RDONLY|syscall.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	expectRefusal(t, "load onto a device held exclusively", c.Load(ctx, device, linear(held, 0, 8), devicemapper.LoadOptions{}), syscall.EBUSY, devicemapper.ErrBusy)
	exclusive.Close()

	empty, err := c.Create(ctx, "empty", "")
	if err != nil {
		t.Fatal(err)
	}
	removeAtEnd(ctx, t, c, empty)
	_, err = c.Message(ctx, empty, 0, "create_thin 1")
	expectRefusal(t, "message without a table", err, 0, devicemapper.ErrNoTable)
	expectRefusal(t, "create_thin without a table", c.CreateThin(ctx, empty, 1), 0, devicemapper.ErrNoTable)
	_, err = c.Status(ctx, empty, devicemapper.StatusOptions{})
	expectRefusal(t, "status without a table", err, 0, devicemapper.ErrNoTable)

	file := direct(t, device.Path())
	_, err = c.Remove(ctx, device, devicemapper.RemoveOptions{BusyTimeout: -1})
	expectRefusal(t, "remove while open", err, syscall.EBUSY, devicemapper.ErrBusy)
	file.Close()
}

func TestErrnoOfPoolMessages(t *testing.T) {
	ctx, c := open(t)
	p := newPool(ctx, t, c, 64*mebibyte, nil)
	thin := p.thin(ctx, t, c, 1, 8*mebibyte)

	expectRefusal(t, "duplicate id", c.CreateThin(ctx, p, 1), syscall.EEXIST, devicemapper.ErrThinExist)
	expectRefusal(t, "snapshot under a taken id", c.CreateSnapshot(ctx, p, 1, 1), syscall.EEXIST, devicemapper.ErrThinExist)
	expectRefusal(t, "snapshot of no origin", c.CreateSnapshot(ctx, p, 2, 99), syscall.ENODATA, devicemapper.ErrThinNotExist)
	expectRefusal(t, "delete of none", c.DeleteThin(ctx, p, 99), syscall.ENODATA, devicemapper.ErrThinNotExist)
	expectRefusal(t, "delete of an active one", c.DeleteThin(ctx, p, 1), syscall.EBUSY, devicemapper.ErrBusy)
	expectRefusal(t, "transaction id", c.SetTransactionID(ctx, p, 5, 6), syscall.EINVAL, devicemapper.ErrTransactionMismatch)
	expectRefusal(t, "release of no snapshot", c.ReleaseMetadataSnapshot(ctx, p), syscall.EINVAL, devicemapper.ErrNoMetadataSnapshot)
	if err := c.ReserveMetadataSnapshot(ctx, p); err != nil {
		t.Error(err)
	}
	expectRefusal(t, "second metadata snapshot", c.ReserveMetadataSnapshot(ctx, p), syscall.EBUSY, devicemapper.ErrMetadataSnapshotHeld)
	if err := c.ReleaseMetadataSnapshot(ctx, p); err != nil {
		t.Error(err)
	}
	_, err := c.Message(ctx, p, 0, "no_such_message")
	expectRefusal(t, "unknown message", err, syscall.EINVAL, nil)
	_, err = c.Message(ctx, p, p.size, "create_thin 7")
	expectRefusal(t, "message behind the end", err, syscall.EINVAL, nil)

	device, err := c.Create(ctx, "thin-99", "")
	if err != nil {
		t.Fatal(err)
	}
	removeAtEnd(ctx, t, c, device)
	expectRefusal(t, "activation of no thin id", c.Load(ctx, device, p.thinTable(99, mebibyte), devicemapper.LoadOptions{}),
		syscall.ENODATA, devicemapper.ErrThinNotExist)
	notAPool := devicemapper.Table{{Length: 8, Target: devicemapper.Thin{Pool: thin.Number, ID: 1}}}
	expectRefusal(t, "activation on what is no pool", c.Load(ctx, device, notAPool, devicemapper.LoadOptions{}), syscall.EINVAL, nil)

	if err := c.CreateThin(ctx, p, 2); err != nil {
		t.Fatal(err)
	}
	if err := c.Suspend(ctx, p, devicemapper.SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	expectRefusal(t, "activation on a suspended pool", c.Load(ctx, device, p.thinTable(2, mebibyte), devicemapper.LoadOptions{}),
		syscall.EINVAL, devicemapper.ErrPoolSuspended)
	info, err := c.Info(ctx, thin)
	if err != nil || !info.InternallySuspended || info.Suspended {
		t.Errorf("thin of a suspended pool: %+v, %v", info, err)
	}
	if err := c.Resume(ctx, p); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(ctx, device, p.thinTable(2, mebibyte), devicemapper.LoadOptions{}); err != nil {
		t.Errorf("activation on the resumed pool: %v", err)
	}
}

// A pool that may not write its metadata takes no message.
func TestErrnoOfReadOnlyPool(t *testing.T) {
	ctx, c := open(t)
	p := newPool(ctx, t, c, 64*mebibyte, nil)
	if err := c.CreateThin(ctx, p, 1); err != nil {
		t.Fatal(err)
	}
	p.target.ReadOnly = true
	if err := c.Load(ctx, p, p.table(), devicemapper.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(ctx, p); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"create_thin":        c.CreateThin(ctx, p, 2),
		"create_snap":        c.CreateSnapshot(ctx, p, 2, 1),
		"delete":             c.DeleteThin(ctx, p, 1),
		"set_transaction_id": c.SetTransactionID(ctx, p, 0, 1),
		"reserve":            c.ReserveMetadataSnapshot(ctx, p),
		"release":            c.ReleaseMetadataSnapshot(ctx, p),
	} {
		expectRefusal(t, what, err, syscall.EOPNOTSUPP, devicemapper.ErrPoolNotWritable)
	}
	status, err := c.ThinPoolStatus(ctx, p)
	if err != nil || status.Mode != devicemapper.PoolModeReadOnly || status.Healthy() {
		t.Errorf("status %+v, %v, want ro", status, err)
	}
}

// A pool whose metadata cannot be written falls to read-only on the first
// change, and says so, although the message itself returned success.
func TestMessageSucceedsWithoutLasting(t *testing.T) {
	ctx, c := open(t)
	metadata, data := disk(t, 16*mebibyte), disk(t, 64*mebibyte)
	below := activate(ctx, t, c, "metadata", linear(metadata, 0, devicemapper.SectorsOf(16*mebibyte)))
	p := pool{size: devicemapper.SectorsOf(64 * mebibyte), target: devicemapper.ThinPool{Metadata: below.Number, Data: data, BlockSectors: 128}}
	p.Device = activate(ctx, t, c, "pool", p.table())
	thin := p.thin(ctx, t, c, 1, 8*mebibyte)

	broken := devicemapper.Table{{Length: devicemapper.SectorsOf(16 * mebibyte), Target: devicemapper.ErrorTarget{}}}
	if err := c.Load(ctx, below, broken, devicemapper.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(ctx, below); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateThin(ctx, p, 2); err != nil {
		t.Errorf("the kernel has learned to report a failed commit: %v", err)
	}
	status, err := c.ThinPoolStatus(ctx, p)
	if err != nil || status.Healthy() {
		t.Errorf("status after the failed commit: %+v, %v, want one that is not healthy", status, err)
	}
	t.Logf("status: %+v", status)
	expectRefusal(t, "message to the broken pool", c.CreateThin(ctx, p, 3), syscall.EOPNOTSUPP, devicemapper.ErrPoolNotWritable)
	if status.Mode == devicemapper.PoolModeFailed {
		_, err := c.Activate(ctx, "thin-1-again", "", p.thinTable(1, 8*mebibyte))
		expectRefusal(t, "activation on the failed pool", err, syscall.EINVAL, devicemapper.ErrPoolNotWritable)
		thinStatus, err := c.ThinStatus(ctx, thin)
		if err != nil || thinStatus.State != devicemapper.ThinStateFailed {
			t.Errorf("thin status %+v, %v, want Fail", thinStatus, err)
		}
		table, err := c.Table(ctx, thin, devicemapper.TableOptions{})
		want := devicemapper.Target(devicemapper.RawTarget{TargetType: "thin", Params: "Fail"})
		if err != nil || len(table) != 1 || table[0].Target != want {
			t.Errorf("table %v, %v, want %v", table, err, want)
		}
	}
}
