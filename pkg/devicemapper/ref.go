package devicemapper

import "golang.org/x/sys/unix"

// Ref says which device a call is about: a Name, a UUID, a DeviceNumber or a
// Device. No other type can be one.
type Ref interface {
	String() string
	// address writes the reference into the header of an ioctl. The kernel
	// wants exactly one of the three fields set.
	address(header *unix.DmIoctl) error
}

// Device is a device-mapper device as the kernel described it when it was
// asked. As a Ref it goes by UUID, or by Name where there is no UUID, and so
// never reaches another device that has inherited its number.
type Device struct {
	Name   Name
	UUID   UUID // empty where the device was made without one
	Number DeviceNumber
}

// Path returns /dev/dm-N, the device's node. The kernel makes it in devtmpfs
// when the device gets its first table and removes it with the device; no
// udev is involved, and it is there in a container that has the host's /dev.
// This package neither makes nor needs links under /dev/mapper.
func (d Device) Path() string { return d.Number.Path() }

// String returns the device's name.
func (d Device) String() string { return d.Name.String() }

func (d Device) address(header *unix.DmIoctl) error {
	if d.UUID != "" {
		return d.UUID.address(header)
	}
	return d.Name.address(header)
}

// String returns the name.
func (n Name) String() string { return string(n) }

func (n Name) address(header *unix.DmIoctl) error {
	if err := checkLookup("name", string(n), MaxNameLength); err != nil {
		return err
	}
	copy(header.Name[:], n)
	return nil
}

// String returns the UUID.
func (u UUID) String() string { return string(u) }

func (u UUID) address(header *unix.DmIoctl) error {
	if err := checkLookup("uuid", string(u), MaxUUIDLength); err != nil {
		return err
	}
	copy(header.Uuid[:], u)
	return nil
}

func (n DeviceNumber) address(header *unix.DmIoctl) error {
	if err := n.validate("device number"); err != nil {
		return err
	}
	header.Dev = n.Rdev()
	return nil
}
