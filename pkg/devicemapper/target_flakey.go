package devicemapper

import (
	"fmt"
	"strings"
)

// Flakey is a disk that fails now and then: Up seconds well, Down seconds not,
// again and again (Documentation/admin-guide/device-mapper/dm-flakey.rst of
// the kernel). While it is down all I/O fails, unless a field says otherwise.
// With Up 0 it is always down.
type Flakey struct {
	Device        DeviceNumber
	OffsetSectors Sectors // where on Device the segment begins
	Up, Down      uint32  // seconds, not both 0
	// ErrorWrites: writes fail, reads do not.
	ErrorWrites bool
	// DropWrites: writes are lost, and said to be done. Not with ErrorWrites.
	DropWrites bool
}

const (
	flakeyErrorWrites = "error_writes"
	flakeyDropWrites  = "drop_writes"
)

// Type returns "flakey".
func (Flakey) Type() string { return TypeFlakey }

func (t Flakey) params() (string, error) {
	if err := t.Device.validate("flakey device"); err != nil {
		return "", err
	}
	if t.Up == 0 && t.Down == 0 {
		return "", invalid("flakey intervals", "0 0", "at least one that is greater than 0")
	}
	params := fmt.Sprintf("%s %d %d %d", t.Device, t.OffsetSectors, t.Up, t.Down)
	switch {
	case t.ErrorWrites && t.DropWrites:
		return "", invalid("flakey features", flakeyErrorWrites+" "+flakeyDropWrites, "one of them")
	case t.ErrorWrites:
		return params + " 1 " + flakeyErrorWrites, nil
	case t.DropWrites:
		return params + " 1 " + flakeyDropWrites, nil
	}
	return params, nil
}

// parseFlakey reads what the kernel prints, which has a number of features
// even if that is 0.
func parseFlakey(params string) (Flakey, error) {
	fields := strings.Fields(params)
	if len(fields) < 4 || len(fields) > 6 {
		return Flakey{}, wantFields(params, 4)
	}
	device, err := ParseDeviceNumber(fields[0])
	if err != nil {
		return Flakey{}, err
	}
	t := Flakey{Device: device}
	if t.OffsetSectors, err = number[Sectors](fields[1]); err != nil {
		return Flakey{}, err
	}
	if t.Up, err = number[uint32](fields[2]); err != nil {
		return Flakey{}, err
	}
	if t.Down, err = number[uint32](fields[3]); err != nil {
		return Flakey{}, err
	}
	switch features := strings.Join(fields[4:], " "); features {
	case "", "0":
	case "1 " + flakeyErrorWrites:
		t.ErrorWrites = true
	case "1 " + flakeyDropWrites:
		t.DropWrites = true
	default:
		return Flakey{}, fmt.Errorf("features %q are not known", features)
	}
	return t, nil
}
