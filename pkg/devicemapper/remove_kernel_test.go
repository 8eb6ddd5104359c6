//go:build kernel

package devicemapper_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

var zeroTable = devicemapper.Table{{Length: 8, Target: devicemapper.Zero{}}}

// A removal that is deferred keeps name and UUID until the last close.
func TestDeferredRemoval(t *testing.T) {
	ctx, c := open(t)
	device := activate(ctx, t, c, "deferred", zeroTable)
	file := direct(t, device.Path())

	deferred, err := c.Remove(ctx, device, devicemapper.RemoveOptions{BusyTimeout: -1, Deferred: true})
	if err != nil || !deferred {
		t.Fatalf("remove while open: %v, %v, want deferred", deferred, err)
	}
	expectInfo(ctx, t, c, device, devicemapper.Info{Device: device, OpenCount: 1, DeferredRemove: true, LiveTable: true, Segments: 1})
	_, err = c.Create(ctx, device.Name, "")
	expectRefusal(t, "create while a removal is pending", err, syscall.EBUSY, devicemapper.ErrExist)
	// A second removal changes nothing.
	if deferred, err = c.Remove(ctx, device, devicemapper.RemoveOptions{BusyTimeout: -1, Deferred: true}); err != nil || !deferred {
		t.Errorf("second remove: %v, %v", deferred, err)
	}

	file.Close()
	awaitGone(ctx, t, c, device)
	again, err := c.Create(ctx, device.Name, device.UUID)
	if err != nil {
		t.Fatalf("create after the removal: %v", err)
	}
	removeAtEnd(ctx, t, c, again)
}

// The kernel removes the device by a work item after the close.
func awaitGone(ctx context.Context, t *testing.T, c *devicemapper.Client, ref devicemapper.Ref) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		_, err := c.Info(ctx, ref)
		if errors.Is(err, devicemapper.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there: %v", ref, err)
		}
	}
}

func TestCancelDeferredRemoval(t *testing.T) {
	ctx, c := open(t)
	device := activate(ctx, t, c, "cancelled", zeroTable)
	file := direct(t, device.Path())
	if deferred, err := c.Remove(ctx, device, devicemapper.RemoveOptions{BusyTimeout: -1, Deferred: true}); err != nil || !deferred {
		t.Fatalf("remove: %v, %v", deferred, err)
	}
	if err := c.CancelDeferredRemove(ctx, device); err != nil {
		t.Fatal(err)
	}
	file.Close()
	time.Sleep(100 * time.Millisecond) // a removal that was not taken back would come now
	expectInfo(ctx, t, c, device, devicemapper.Info{Device: device, LiveTable: true, Segments: 1})
	if err := c.CancelDeferredRemove(ctx, device); err != nil {
		t.Errorf("cancel without a removal: %v", err)
	}
	expectRefusal(t, "cancel on none", c.CancelDeferredRemove(ctx, devicemapper.Name("none")), syscall.ENXIO, devicemapper.ErrNotExist)
}

// Deferred, but nobody has it open: it goes at once.
func TestDeferredRemovalOfIdleDevice(t *testing.T) {
	ctx, c := open(t)
	device := activate(ctx, t, c, "idle", zeroTable)
	if deferred, err := c.Remove(ctx, device, devicemapper.RemoveOptions{Deferred: true}); err != nil || deferred {
		t.Errorf("remove: %v, %v, want it gone", deferred, err)
	}
	if _, err := c.Info(ctx, device); !errors.Is(err, devicemapper.ErrNotExist) {
		t.Errorf("info: %v", err)
	}
}

// Remove waits for somebody who has the device open for a moment.
func TestRemoveRetriesWhileBusy(t *testing.T) {
	ctx, c := open(t)
	device := activate(ctx, t, c, "busy", zeroTable)
	file := direct(t, device.Path())
	closed := make(chan error, 1)
	time.AfterFunc(150*time.Millisecond, func() { closed <- file.Close() })
	began := time.Now()
	deferred, err := c.Remove(ctx, device, devicemapper.RemoveOptions{BusyTimeout: 20 * time.Second})
	if err != nil || deferred {
		t.Errorf("remove: %v, %v", deferred, err)
	}
	if took := time.Since(began); took < 150*time.Millisecond {
		t.Errorf("removed after %v although it was open", took)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestRemoveGivesUp(t *testing.T) {
	ctx, c := open(t)
	device := activate(ctx, t, c, "stuck", zeroTable)
	file := direct(t, device.Path())
	defer file.Close()

	began := time.Now()
	_, err := c.Remove(ctx, device, devicemapper.RemoveOptions{BusyTimeout: 100 * time.Millisecond})
	expectRefusal(t, "remove within 100 ms", err, syscall.EBUSY, devicemapper.ErrBusy)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}

	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	began = time.Now()
	_, err = c.Remove(short, device, devicemapper.RemoveOptions{BusyTimeout: time.Minute})
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, devicemapper.ErrBusy) {
		t.Errorf("remove in a context that ends: %v, want both DeadlineExceeded and ErrBusy", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}
