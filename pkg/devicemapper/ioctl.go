package devicemapper

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

// request is one ioctl to be made.
type request struct {
	op      string // for errors and traces
	command uint
	ref     Ref // nil for the calls that name no device
	flags   uint32
	event   uint32 // event_nr: an event number, or the udev flags
	targets uint32 // how many target_spec the payload holds
	payload []byte
	room    int // what the answer is expected to need, in bytes; grown if it does not suffice
	prepare func(*unix.DmIoctl)
}

// response is the header and payload as the kernel left them. data aliases
// the buffer of this one call.
type response struct {
	header *unix.DmIoctl
	data   []byte
}

func (r response) flag(mask uint32) bool { return r.header.Flags&mask != 0 }

// device reads who answered: the kernel fills in all three identities
// whichever it was asked by.
func (r response) device() Device {
	name, _ := text(r.header.Name[:])
	uuid, _ := text(r.header.Uuid[:])
	return Device{Name: Name(name), UUID: UUID(uuid), Number: DeviceNumberOf(r.header.Dev)}
}

// call makes the ioctl. It looks at ctx before it begins and between retries;
// the kernel cannot be made to give up an ioctl that has begun. A signal, and
// the Go runtime sends some of its own, interrupts those that wait for I/O
// with nothing done: newer kernels begin them again, older ones return EINTR.
func (c *Client) call(ctx context.Context, r request) (response, error) {
	room := max(r.room, len(r.payload))
	for {
		if err := ctx.Err(); err != nil {
			return response{}, r.interrupted(ctx)
		}
		b := newBuffer(room)
		if err := r.encode(b); err != nil {
			return response{}, err
		}
		began := time.Now()
		result, errno, err := c.ioctl(r.command, b)
		r.trace(ctx, began, errno)
		switch {
		case err != nil:
			return response{}, fmt.Errorf("device mapper: %s: %w", r.op, err)
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return response{}, r.refused(errno)
		case result != 0:
			// A message to a device without a table ends here: the kernel
			// returns 2, which is neither an error nor work done.
			return response{}, &Error{Op: r.op, Device: r.device(), meaning: ErrNoTable}
		}
		if b.header().Flags&unix.DM_BUFFER_FULL_FLAG == 0 {
			return response{header: b.header(), data: b.answer()}, nil
		}
		if room = 2 * max(room, 512); room > maxBufferSize {
			return response{}, &Error{Op: r.op, Device: r.device(), Errno: unix.ENOBUFS}
		}
	}
}

func (r request) encode(b buffer) error {
	h := b.header()
	// Version 4.0.0 asks for the least: the kernel accepts any minor up to
	// its own, and this package looks at the kernel's before it uses more.
	h.Version = [3]uint32{unix.DM_VERSION_MAJOR, 0, 0}
	h.Data_size = uint32(len(b) * 8)
	h.Data_start = uint32(headerSize)
	h.Target_count = r.targets
	h.Flags = r.flags
	h.Event_nr = r.event
	copy(b.bytes()[headerSize:], r.payload)
	if r.prepare != nil {
		r.prepare(h)
	}
	if r.ref == nil {
		return nil
	}
	return r.ref.address(h)
}

func (r request) device() string {
	if r.ref == nil {
		return ""
	}
	return r.ref.String()
}

// refused gives an errno the meaning it has for every kind of call; the
// methods refine it where it means something else to them.
func (r request) refused(errno unix.Errno) *Error {
	e := &Error{Op: r.op, Device: r.device(), Errno: errno}
	switch errno {
	case unix.ENXIO:
		e.meaning = ErrNotExist
	case unix.EBUSY:
		e.meaning = ErrBusy
	}
	return e
}

func (r request) interrupted(ctx context.Context) error {
	if d := r.device(); d != "" {
		return fmt.Errorf("device mapper: %s %s: %w", r.op, d, context.Cause(ctx))
	}
	return fmt.Errorf("device mapper: %s: %w", r.op, context.Cause(ctx))
}

func (r request) trace(ctx context.Context, began time.Time, errno unix.Errno) {
	if logger := klog.FromContext(ctx).V(5); logger.Enabled() {
		logger.Info("Device-mapper ioctl", "operation", r.op, "device", r.device(), "duration", time.Since(began), "errno", int(errno))
	}
}

// ioctlFunc makes one ioctl. err is about the control node, errno the
// kernel's; result is what the kernel returned in their absence.
type ioctlFunc func(command uint, b buffer) (result uintptr, errno unix.Errno, err error)

// ioctlOn returns the ioctlFunc of an open control node. The node stays open
// until a call is through, even if it is closed meanwhile.
func ioctlOn(control syscall.RawConn) ioctlFunc {
	return func(command uint, b buffer) (result uintptr, errno unix.Errno, err error) {
		err = control.Control(func(fd uintptr) {
			//nolint:gosec // converted within the call, as unsafe.Pointer's rules want it
			result, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, uintptr(command), uintptr(unsafe.Pointer(&b[0])))
		})
		if err != nil {
			err = os.ErrClosed
		}
		return result, errno, err
	}
}
