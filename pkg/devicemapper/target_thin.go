package devicemapper

import (
	"fmt"
	"strings"
)

// ThinID is the number of a thin device within its pool. Who owns the pool
// hands the numbers out; the kernel only refuses to use one twice.
type ThinID uint32

// MaxThinID is the largest thin id: 24 bits (MAX_DEV_ID in the kernel's
// drivers/md/dm-thin.c).
const MaxThinID ThinID = 1<<24 - 1

func (id ThinID) validate(field string) error {
	if id > MaxThinID {
		return invalid(field, fmt.Sprint(uint32(id)), fmt.Sprintf("0 to %d", MaxThinID))
	}
	return nil
}

// Thin is a thin device of a pool. The pool records no size for it: the
// segment's length is its size.
//
// The kernel lets two devices be active on one id, which corrupts the data of
// both. Preventing that is the caller's part.
type Thin struct {
	Pool DeviceNumber // the thin-pool device
	ID   ThinID
	// ExternalOrigin, unless zero, is a device outside the pool that is read
	// where the thin device has no block of its own. It must not be written to.
	ExternalOrigin DeviceNumber
}

// Type returns "thin".
func (Thin) Type() string { return TypeThin }

func (t Thin) params() (string, error) {
	if err := t.Pool.validate("thin pool"); err != nil {
		return "", err
	}
	if err := t.ID.validate("thin id"); err != nil {
		return "", err
	}
	params := fmt.Sprintf("%s %d", t.Pool, t.ID)
	if t.ExternalOrigin.IsZero() {
		return params, nil
	}
	if err := t.ExternalOrigin.validate("external origin"); err != nil {
		return "", err
	}
	return params + " " + t.ExternalOrigin.String(), nil
}

func parseThin(params string) (Thin, error) {
	fields := strings.Fields(params)
	if len(fields) != 2 && len(fields) != 3 {
		return Thin{}, fmt.Errorf("%d fields instead of 2 or 3", len(fields))
	}
	var t Thin
	var err error
	if t.Pool, err = ParseDeviceNumber(fields[0]); err != nil {
		return Thin{}, err
	}
	if t.ID, err = number[ThinID](fields[1]); err != nil {
		return Thin{}, err
	}
	if err = t.ID.validate("thin id"); err != nil {
		return Thin{}, err
	}
	if len(fields) == 3 {
		t.ExternalOrigin, err = ParseDeviceNumber(fields[2])
	}
	return t, err
}
