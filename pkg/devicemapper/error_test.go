package devicemapper

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
)

func TestErrorMatches(t *testing.T) {
	err := fmt.Errorf("around: %w", &Error{Op: "message", Device: "pool", Message: "create_thin 1", Errno: syscall.EEXIST, meaning: ErrThinExist})
	for _, match := range []error{syscall.EEXIST, ErrThinExist} {
		if !errors.Is(err, match) {
			t.Errorf("%v does not match %v", err, match)
		}
	}
	for _, other := range []error{syscall.EBUSY, ErrExist, ErrBusy, ErrNotExist, ErrInvalid} {
		if errors.Is(err, other) {
			t.Errorf("%v matches %v", err, other)
		}
	}
	want := `around: device mapper: message pool "create_thin 1": thin device exists already: file exists (EEXIST)`
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) || errno != syscall.EEXIST {
		t.Errorf("errno %v", errno)
	}
}

// Success without the work done has no errno to match.
func TestErrorWithoutErrno(t *testing.T) {
	err := &Error{Op: "message", Device: "empty", meaning: ErrNoTable}
	if !errors.Is(err, ErrNoTable) || errors.Is(err, syscall.Errno(0)) {
		t.Errorf("%v: wrong matches", err)
	}
	if want := "device mapper: message empty: device has no live table"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	plain := &Error{Op: "list", Errno: syscall.EACCES}
	if want := "device mapper: list: permission denied (EACCES)"; plain.Error() != want {
		t.Errorf("%q, want %q", plain, want)
	}
}

func TestRefusedMeanings(t *testing.T) {
	r := request{op: "info", ref: Name("x")}
	for errno, want := range map[syscall.Errno]error{
		syscall.ENXIO: ErrNotExist, syscall.EBUSY: ErrBusy, syscall.EINVAL: nil, syscall.ENODATA: nil,
	} {
		if got := r.refused(errno).meaning; !errors.Is(got, want) {
			t.Errorf("%v means %v, want %v", errno, got, want)
		}
	}
}

func TestInvalidAndFormatErrors(t *testing.T) {
	for want, err := range map[string]error{
		`device mapper: thin id "16777216" is not allowed: want 0 to 16777215`:                                                    (MaxThinID + 1).validate("thin id"),
		`device mapper: cannot read thin status "x": want two fields, or Fail, Error or -`:                                        func() error { _, err := ParseThinStatus("x"); return err }(),
		`device mapper: device number "8" is not allowed: want ` + deviceNumberAllowed:                                            func() error { _, err := ParseDeviceNumber("8"); return err }(),
		`device mapper: name "a/b" is not allowed: want 1 to 127 characters out of letters, digits and #+-.:=@_, not "." or ".."`: func() error { _, err := ParseName("a/b"); return err }(),
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}
