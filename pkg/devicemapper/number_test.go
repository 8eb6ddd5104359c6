package devicemapper

import (
	"errors"
	"testing"
)

func TestParseDeviceNumber(t *testing.T) {
	for text, want := range map[string]DeviceNumber{
		"254:0":        {254, 0},
		"7:12":         {7, 12},
		"4095:1048575": {4095, 1048575},
	} {
		got, err := ParseDeviceNumber(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("ParseDeviceNumber(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", ":", "254", "254:", ":0", "0:0", "254:-1", "+254:0", "254: 0", "254:0 ", "254:0:0", "4096:0", "254:1048576",
		"0x7:0", "1e1:0", "4294967297:0", "254:4294967296", "99999999999999999999:0", "/dev/dm-0",
	} {
		if got, err := ParseDeviceNumber(text); !errors.Is(err, ErrInvalid) || got != (DeviceNumber{}) {
			t.Errorf("ParseDeviceNumber(%q) = %v, %v, want ErrInvalid", text, got, err)
		}
	}
}

func FuzzParseDeviceNumber(f *testing.F) {
	f.Add("254:0")
	f.Add("254:-1")
	f.Fuzz(func(t *testing.T, text string) {
		number, err := ParseDeviceNumber(text)
		if err != nil {
			return
		}
		again, err := ParseDeviceNumber(number.String())
		if err != nil || again != number {
			t.Errorf("%q became %v became %v, %v", text, number, again, err)
		}
	})
}

// The kernel packs a device number as new_encode_dev in
// include/linux/kdev_t.h does: minor bits 0–7, major, minor bits 8–19.
func TestRdev(t *testing.T) {
	for number, want := range map[DeviceNumber]uint64{
		{254, 0}:          0xfe00,
		{254, 255}:        0xfeff,
		{254, 256}:        0x10fe00,
		{4095, 1<<20 - 1}: 0xffffffff,
		{8, 17}:           0x811,
	} {
		if got := number.Rdev(); got != want {
			t.Errorf("%v packs to %#x, want %#x", number, got, want)
		}
		if got := DeviceNumberOf(want); got != number {
			t.Errorf("%#x unpacks to %v, want %v", want, got, number)
		}
	}
	if got := (DeviceNumber{254, 300}).Path(); got != "/dev/dm-300" {
		t.Errorf("path %s", got)
	}
}
