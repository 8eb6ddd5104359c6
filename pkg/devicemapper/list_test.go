package devicemapper

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// answerList lays devices out as the kernel's list_devices does.
func answerList(devices []ListedDevice) []byte {
	if len(devices) == 0 {
		return make([]byte, 8)
	}
	var data []byte
	for i, d := range devices {
		record := make([]byte, align(12+len(d.Name)+1))
		binary.NativeEndian.PutUint64(record, d.Number.Rdev())
		copy(record[12:], d.Name)
		record = binary.NativeEndian.AppendUint32(record, d.EventNumber)
		var flags uint32
		switch {
		case d.UUID != "":
			flags = unix.DM_NAME_LIST_FLAG_HAS_UUID
		case d.UUIDKnown:
			flags = unix.DM_NAME_LIST_FLAG_DOESNT_HAVE_UUID
		}
		record = binary.NativeEndian.AppendUint32(record, flags)
		if d.UUID != "" {
			record = append(append(record, d.UUID...), 0)
			record = append(record, make([]byte, align(len(record))-len(record))...)
		}
		if i < len(devices)-1 {
			binary.NativeEndian.PutUint32(record[8:], uint32(len(record)))
		}
		data = append(data, record...)
	}
	return data
}

func TestParseList(t *testing.T) {
	devices := []ListedDevice{
		{Device: Device{Name: "a", UUID: "A", Number: DeviceNumber{253, 0}}, EventNumber: 7, UUIDKnown: true},
		{Device: Device{Name: "abc", Number: DeviceNumber{253, 1}}, UUIDKnown: true},
		{Device: Device{Name: "abcd", Number: DeviceNumber{253, 256}}, EventNumber: 1<<32 - 1},
		{Device: Device{Name: "abcde", UUID: "ABCDEFGH", Number: DeviceNumber{253, 3}}, UUIDKnown: true},
	}
	data := answerList(devices)
	got, err := parseList(data)
	if err != nil || !slices.Equal(got, devices) {
		t.Errorf("%+v, %v, want %+v", got, err, devices)
	}
	for _, empty := range [][]byte{nil, make([]byte, 8), make([]byte, 16)} {
		if got, err := parseList(empty); err != nil || len(got) != 0 {
			t.Errorf("%d zeros: %v, %v", len(empty), got, err)
		}
	}
	for cut := 1; cut < len(data)-8; cut++ {
		if got, err := parseList(data[:cut]); !errors.Is(err, ErrMalformed) && len(got) != len(devices) {
			t.Errorf("cut after %d bytes: %v, %v", cut, got, err)
		}
	}
	for _, next := range []uint32{1, 8, 1 << 31, 1<<32 - 1} {
		broken := bytes.Clone(data)
		binary.NativeEndian.PutUint32(broken[8:], next)
		if got, err := parseList(broken); !errors.Is(err, ErrMalformed) {
			t.Errorf("next record at %d: %v, %v", next, got, err)
		}
	}
}

func FuzzParseList(f *testing.F) {
	f.Add(answerList(nil))
	f.Add(answerList([]ListedDevice{{Device: Device{Name: "a", UUID: "A", Number: DeviceNumber{253, 0}}}, {Device: Device{Name: "b", Number: DeviceNumber{253, 1}}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		devices, err := parseList(data)
		if err != nil && (!errors.Is(err, ErrMalformed) || devices != nil) {
			t.Errorf("%v, %v", devices, err)
		}
		if len(devices) > len(data)/20 {
			t.Errorf("%d devices from %d bytes", len(devices), len(data))
		}
	})
}
