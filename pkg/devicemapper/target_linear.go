package devicemapper

import (
	"fmt"
	"strings"
)

// Linear maps a segment onto a run of another device.
type Linear struct {
	Device        DeviceNumber
	OffsetSectors Sectors // where on Device the segment begins
}

// Type returns "linear".
func (Linear) Type() string { return TypeLinear }

func (t Linear) params() (string, error) {
	if err := t.Device.validate("linear device"); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d", t.Device, t.OffsetSectors), nil
}

func parseLinear(params string) (Linear, error) {
	fields := strings.Fields(params)
	if len(fields) != 2 {
		return Linear{}, wantFields(params, 2)
	}
	device, err := ParseDeviceNumber(fields[0])
	if err != nil {
		return Linear{}, err
	}
	offset, err := number[Sectors](fields[1])
	return Linear{Device: device, OffsetSectors: offset}, err
}
