package devicemapper

import (
	"context"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// ListedDevice is one device in the kernel's list.
type ListedDevice struct {
	Device
	// EventNumber counts the device's events; see Client.Wait.
	EventNumber uint32
	// UUIDKnown tells an empty UUID that the kernel reported from one that it
	// does not report at all: before interface version 4.45 (Linux 5.14) the
	// list has no UUIDs, and Info must be asked.
	UUIDKnown bool
}

// List returns all device-mapper devices of the host, whoever made them, in
// no particular order. The list is one consistent moment's.
func (c *Client) List(ctx context.Context) ([]ListedDevice, error) {
	r, err := c.call(ctx, request{op: "list", command: unix.DM_LIST_DEVICES, flags: unix.DM_UUID_FLAG, room: 16 << 10})
	if err != nil {
		return nil, err
	}
	return parseList(r.data)
}

// parseList reads a chain of struct dm_name_list: device number, offset of
// the next record, name with a zero; then, aligned to 8 bytes, event number
// and flags; then, if they say so, the UUID with a zero. An empty list is one
// record with device number 0.
func parseList(data []byte) ([]ListedDevice, error) {
	const (
		fixed   = 12
		trailer = 8
	)
	var devices []ListedDevice
	malformed := func(text, reason string) ([]ListedDevice, error) {
		return nil, &FormatError{What: "device list", Text: text, Reason: reason}
	}
	for {
		if len(data) < 8 {
			// The kernel returns the header alone where there is no device.
			if len(devices) == 0 && len(data) == 0 {
				return nil, nil
			}
			return malformed("", "a record is cut short")
		}
		rdev := binary.NativeEndian.Uint64(data)
		if rdev == 0 {
			return devices, nil
		}
		if len(data) < fixed {
			return malformed("", "a record is cut short")
		}
		name, terminated := text(data[fixed:])
		if !terminated {
			return malformed(name, "a name has no end")
		}
		device := ListedDevice{Device: Device{Name: Name(name), Number: DeviceNumberOf(rdev)}}
		at := align(fixed + len(name) + 1)
		if at+trailer > len(data) {
			return malformed(name, "the event number is out of bounds")
		}
		device.EventNumber = binary.NativeEndian.Uint32(data[at:])
		flags := binary.NativeEndian.Uint32(data[at+4:])
		if flags&unix.DM_NAME_LIST_FLAG_HAS_UUID != 0 {
			uuid, terminated := text(data[at+trailer:])
			if !terminated {
				return malformed(name, "a UUID has no end")
			}
			device.UUID = UUID(uuid)
		}
		device.UUIDKnown = flags&(unix.DM_NAME_LIST_FLAG_HAS_UUID|unix.DM_NAME_LIST_FLAG_DOESNT_HAVE_UUID) != 0
		devices = append(devices, device)

		next := int(binary.NativeEndian.Uint32(data[8:]))
		if next == 0 {
			return devices, nil
		}
		if next < at+trailer || next > len(data) {
			return malformed(name, "the next record is out of bounds")
		}
		data = data[next:]
	}
}
