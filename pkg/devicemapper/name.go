package devicemapper

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Longest name and UUID in bytes: the kernel's DM_NAME_LEN and DM_UUID_LEN
// (include/uapi/linux/dm-ioctl.h) less the terminating zero.
const (
	MaxNameLength = unix.DM_NAME_LEN - 1
	MaxUUIDLength = unix.DM_UUID_LEN - 1
)

// nameCharacters are the characters that libdevmapper writes without
// escaping, and thus those that look the same to dmsetup, lvm and udev. The
// kernel itself refuses the slash alone.
const nameCharacters = "#+-.:=@_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// Name is the name of a device-mapper device, unique on its host while the
// device exists. It is a Ref.
type Name string

// UUID is the second, lasting identity of a device-mapper device: any text,
// set when the device is made, unique on its host. By custom it begins with
// the owner's prefix ("LVM-", "CRYPT-"). It is a Ref.
type UUID string

// ParseName checks text as the name of a device to be made: 1 to
// MaxNameLength characters of letters, digits and "#+-.:=@_", and not "." or
// "..". A method that takes a Name makes the same check.
func ParseName(text string) (Name, error) {
	if text == "." || text == ".." || !plain(text, MaxNameLength) {
		return "", invalid("name", text, identityAllowed(MaxNameLength)+`, not "." or ".."`)
	}
	return Name(text), nil
}

// ParseUUID checks text as the UUID of a device to be made: 1 to
// MaxUUIDLength characters of letters, digits and "#+-.:=@_".
func ParseUUID(text string) (UUID, error) {
	if !plain(text, MaxUUIDLength) {
		return "", invalid("uuid", text, identityAllowed(MaxUUIDLength))
	}
	return UUID(text), nil
}

func plain(text string, longest int) bool {
	if text == "" || len(text) > longest {
		return false
	}
	for _, character := range text {
		if !strings.ContainsRune(nameCharacters, character) {
			return false
		}
	}
	return true
}

func identityAllowed(longest int) string {
	return fmt.Sprintf("1 to %d characters out of letters, digits and #+-.:=@_", longest)
}

// A device that somebody else made may bear any name or UUID the kernel lets
// pass. To look one up it is enough that the text survives the trip there.
func checkLookup(field, text string, longest int) error {
	if text == "" || len(text) > longest || strings.Contains(text, "\x00") {
		return invalid(field, text, fmt.Sprintf("1 to %d bytes, none of them zero", longest))
	}
	return nil
}
