package devicemapper

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What a failed call means to its caller, to be matched with errors.Is. The
// kernel's own number is there as well: errors.Is(err, syscall.EBUSY).
var (
	// ErrNotExist: there is no device-mapper device of that name, UUID or number.
	ErrNotExist = errors.New("device does not exist")
	// ErrExist: another device has the name or the UUID. It may be one whose
	// deferred removal is pending; see Client.CancelDeferredRemove.
	ErrExist = errors.New("name or UUID is in use")
	// ErrBusy: the device is open or mounted, or the thin device is active.
	ErrBusy = errors.New("device is in use")
	// ErrNoTable: the device has no live table to ask or to send a message to.
	ErrNoTable = errors.New("device has no live table")
	// ErrUnderlyingNotExist: a device that the table names does not exist.
	ErrUnderlyingNotExist = errors.New("a device named in the table does not exist")
	// ErrThinNotExist: the pool has no thin device with that id.
	ErrThinNotExist = errors.New("thin device does not exist")
	// ErrThinExist: the pool has a thin device with that id already.
	ErrThinExist = errors.New("thin device exists already")
	// ErrPoolNotWritable: the pool takes no message because it is read-only,
	// out of metadata space or has failed.
	ErrPoolNotWritable = errors.New("thin pool is read-only or has failed")
	// ErrPoolSuspended: a thin device cannot be activated while its pool is suspended.
	ErrPoolSuspended = errors.New("thin pool is suspended")
	// ErrTransactionMismatch: the pool's transaction id is not the one that
	// SetTransactionID expected.
	ErrTransactionMismatch = errors.New("transaction id is not the expected one")
	// ErrMetadataSnapshotHeld: somebody holds the pool's one metadata snapshot.
	ErrMetadataSnapshotHeld = errors.New("a metadata snapshot is held already")
	// ErrNoMetadataSnapshot: there is no metadata snapshot to release.
	ErrNoMetadataSnapshot = errors.New("no metadata snapshot is held")
	// ErrInvalid: an argument was refused before the kernel was asked. The
	// error is an *InvalidError.
	ErrInvalid = errors.New("invalid argument")
	// ErrMalformed: the kernel's answer is not of a known form. The error is
	// a *FormatError.
	ErrMalformed = errors.New("malformed answer")
	// ErrUnsupported: the kernel is too old or lacks a target. The error is
	// an *UnsupportedError.
	ErrUnsupported = errors.New("not supported by the kernel")
)

// Error is a device-mapper call that the kernel refused. It unwraps to Errno,
// and errors.Is matches it to the sentinel of its meaning.
type Error struct {
	Op      string        // "create", "load", "suspend", "message", …
	Device  string        // the device as the caller named it; empty for calls that name none
	Message string        // the message sent, for Op "message"
	Errno   syscall.Errno // as the kernel returned it; 0 where it returned success without doing the work

	meaning error // what Errno says in this call, nil where it says no more than itself
}

// Error names the call, the device, the meaning and the kernel's error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("device mapper: ")
	b.WriteString(e.Op)
	if e.Device != "" {
		fmt.Fprintf(&b, " %s", e.Device)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, " %q", e.Message)
	}
	if e.meaning != nil {
		fmt.Fprintf(&b, ": %v", e.meaning)
	}
	if e.Errno != 0 {
		fmt.Fprintf(&b, ": %v (%s)", e.Errno, unix.ErrnoName(e.Errno))
	}
	return b.String()
}

// Unwrap returns the meaning, if there is one, and the kernel's errno.
func (e *Error) Unwrap() []error {
	var causes []error
	if e.meaning != nil {
		causes = append(causes, e.meaning)
	}
	if e.Errno != 0 {
		causes = append(causes, e.Errno)
	}
	return causes
}

// InvalidError is an argument that was refused before the kernel was asked.
// It matches ErrInvalid.
type InvalidError struct {
	Field   string // which argument
	Value   string // what it was
	Allowed string // what it may be
}

// Error names the field, its value and what is allowed.
func (e *InvalidError) Error() string {
	return fmt.Sprintf("device mapper: %s %q is not allowed: want %s", e.Field, e.Value, e.Allowed)
}

// Is reports whether target is ErrInvalid.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

func invalid(field, value, allowed string) error {
	return &InvalidError{Field: field, Value: value, Allowed: allowed}
}

// FormatError is an answer of the kernel that this package cannot read. It
// matches ErrMalformed.
type FormatError struct {
	What   string // "thin-pool status", "device list", …
	Text   string // the answer, or as much of it as says where it is wrong
	Reason string
}

// Error names the kind of answer, what is wrong with it and its text.
func (e *FormatError) Error() string {
	return fmt.Sprintf("device mapper: cannot read %s %q: %s", e.What, e.Text, e.Reason)
}

// Is reports whether target is ErrMalformed.
func (e *FormatError) Is(target error) bool { return target == ErrMalformed }
