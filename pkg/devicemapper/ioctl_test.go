package devicemapper

import (
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What call does with answers that a kernel gives rarely. How the kernel
// behaves is for the kernel tests to say.

func TestCallBeginsAgainAfterSignal(t *testing.T) {
	calls := 0
	c := &Client{ioctl: func(uint, buffer) (uintptr, unix.Errno, error) {
		if calls++; calls < 4 {
			return 0, unix.EINTR, nil
		}
		return 0, 0, nil
	}}
	if err := c.Suspend(t.Context(), Name("x"), SuspendOptions{}); err != nil || calls != 4 {
		t.Errorf("%v after %d calls, want success after 4", err, calls)
	}
}

func TestCallEndsBetweenSignals(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	c := &Client{ioctl: func(uint, buffer) (uintptr, unix.Errno, error) {
		calls++
		cancel()
		return 0, unix.EINTR, nil
	}}
	if err := c.Suspend(ctx, Name("x"), SuspendOptions{}); !errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("%v after %d calls, want the context's error after one", err, calls)
	}
}

// The buffer doubles until it suffices or the limit is reached, and each
// attempt carries the whole request.
func TestCallGrowsBuffer(t *testing.T) {
	for _, test := range []struct {
		enough int
		want   error
	}{{1 << 20, nil}, {1 << 30, unix.ENOBUFS}} {
		var largest, calls int
		c := &Client{ioctl: func(_ uint, b buffer) (uintptr, unix.Errno, error) {
			calls++
			h := b.header()
			if name, _ := text(h.Name[:]); name != "x" || int(h.Data_size) != len(b.bytes()) || h.Version != [3]uint32{4, 0, 0} {
				t.Errorf("attempt %d: header %+v", calls, h)
			}
			// What the kernel leaves in the header must not reach the next attempt.
			h.Version, h.Flags, h.Dev = [3]uint32{4, 47, 0}, (1<<32-1)&^unix.DM_BUFFER_FULL_FLAG, 1<<64-1
			if largest = len(b.bytes()); largest < test.enough {
				h.Flags |= unix.DM_BUFFER_FULL_FLAG
			}
			h.Data_size = h.Data_start
			return 0, 0, nil
		}}
		_, err := c.Message(t.Context(), Name("x"), 0, "hello")
		if test.want == nil && (largest < test.enough || largest > 3*test.enough) {
			t.Errorf("%d bytes, want about %d", largest, test.enough)
		}
		if test.want != nil && (!errors.Is(err, test.want) || largest > headerSize+maxBufferSize) {
			t.Errorf("%v with %d bytes, want %v", err, largest, test.want)
		}
		if calls > 20 {
			t.Errorf("%d attempts", calls)
		}
	}
}

func TestCallErrors(t *testing.T) {
	for name, test := range map[string]struct {
		result uintptr
		errno  unix.Errno
		err    error
		want   error
	}{
		"errno":         {errno: unix.EACCES, want: os.ErrPermission},
		"closed":        {err: os.ErrClosed, want: os.ErrClosed},
		"neither":       {result: 2, want: ErrNoTable},
		"not there":     {errno: unix.ENXIO, want: ErrNotExist},
		"out of memory": {errno: unix.ENOMEM, want: unix.ENOMEM},
	} {
		c := &Client{ioctl: func(uint, buffer) (uintptr, unix.Errno, error) { return test.result, test.errno, test.err }}
		if _, err := c.Message(t.Context(), Name("x"), 0, "hello"); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// Nothing that is refused here reaches the kernel.
func TestRefusedBeforeTheKernel(t *testing.T) {
	c := &Client{ioctl: func(uint, buffer) (uintptr, unix.Errno, error) {
		t.Error("the kernel was asked")
		return 0, 0, nil
	}}
	ctx := t.Context()
	_, createErr := c.Create(ctx, "a/b", "")
	_, uuidErr := c.Create(ctx, "a", "b c")
	_, infoErr := c.Info(ctx, DeviceNumber{})
	_, removeErr := c.Remove(ctx, Name(""), RemoveOptions{Deferred: true})
	_, messageErr := c.Message(ctx, Name("x"), 0, " ")
	_, zeroErr := c.Message(ctx, Name("x"), 0, "a\x00b")
	_, targetErr := c.TargetVersion(ctx, "sixteen-letters-")
	for name, err := range map[string]error{
		"create": createErr, "create with uuid": uuidErr, "info": infoErr, "remove": removeErr,
		"message": messageErr, "message with zero": zeroErr, "target version": targetErr,
		"load":        c.Load(ctx, Name("x"), nil, LoadOptions{}),
		"create_thin": c.CreateThin(ctx, Name("x"), MaxThinID+1),
		"create_snap": c.CreateSnapshot(ctx, Name("x"), 1, MaxThinID+1),
		"delete":      c.DeleteThin(ctx, Name("x"), MaxThinID+1),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

// Kernels before interface 4.41 do not know the command, and list the targets.
func TestTargetVersionOfOldKernel(t *testing.T) {
	c := &Client{ioctl: func(command uint, b buffer) (uintptr, unix.Errno, error) {
		if command == unix.DM_GET_TARGET_VERSION {
			return 0, unix.ENOTTY, nil
		}
		answer := answerVersions([]TargetVersion{{"linear", Version{1, 4, 0}}, {"thin-pool", Version{1, 19, 0}}})
		copy(b.bytes()[headerSize:], answer)
		b.header().Data_size = uint32(headerSize + len(answer))
		return 0, 0, nil
	}}
	if v, err := c.TargetVersion(t.Context(), "linear"); err != nil || v != (Version{1, 4, 0}) {
		t.Errorf("linear %v, %v", v, err)
	}
	if _, err := c.TargetVersion(t.Context(), "zero"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("zero: %v", err)
	}
	var unsupported *UnsupportedError
	if v, err := c.RequireThinPool(t.Context()); !errors.As(err, &unsupported) || v != (Version{1, 19, 0}) || unsupported.Want != MinimumThinPoolVersion {
		t.Errorf("thin-pool %v, %v", v, err)
	}
}

// Whoever had the device open may close it just before its removal is
// deferred; then the kernel removes it at once and clears the flag.
func TestDeferredRemovalReportsWhatTheKernelDid(t *testing.T) {
	for _, deferred := range []bool{true, false} {
		c := &Client{ioctl: func(_ uint, b buffer) (uintptr, unix.Errno, error) {
			h := b.header()
			if h.Flags&unix.DM_DEFERRED_REMOVE == 0 {
				return 0, unix.EBUSY, nil
			}
			if !deferred {
				h.Flags &^= unix.DM_DEFERRED_REMOVE
			}
			return 0, 0, nil
		}}
		got, err := c.Remove(t.Context(), Name("x"), RemoveOptions{BusyTimeout: -1, Deferred: true})
		if err != nil || got != deferred {
			t.Errorf("deferred %v, %v, want %v", got, err, deferred)
		}
	}
}
