// Package devicemapper speaks the Linux device mapper's ioctl interface: it
// makes, changes and removes mapped devices, and in particular thin pools and
// the thin devices in them. It needs CAP_SYS_ADMIN and /dev/mapper/control,
// and neither libdevmapper, dmsetup nor udev.
//
// # A tour
//
// Open gives a Client. A device is made in three steps, Create, Load and
// Resume, or in one, Activate. What it maps is a Table of Segments, each with
// a Target: Linear, Thin, ThinPool, Zero, ErrorTarget, LogWrites, Flakey, Dust, or RawTarget
// for the rest of them. Its node is Device.Path, /dev/dm-N, which the kernel makes by
// itself.
//
// Every later call takes a Ref: the Device, its Name, its UUID, or its
// DeviceNumber. Info tells the kernel's view of the device, Table its table,
// Status what its targets say; ThinPoolStatus and ThinStatus take the two
// that matter here apart. Suspend and Resume stop and start its I/O, and with
// a table loaded between them change what it maps. Remove ends it, later if
// it must. List shows all there are, and Wait wakes on a device's events.
//
// A pool's thin devices are made and deleted by messages to the pool:
// CreateThin, CreateSnapshot, DeleteThin. To use one, Activate a table with
// its Thin target.
//
// # Contexts
//
// The ioctls are synchronous and the kernel does not let go of one that has
// begun. Each method looks at its context before each ioctl and between
// retries, and no further; only Wait and the retries of Remove end within it.
// Most ioctls take microseconds. Those that wait for I/O (Suspend, Load of a
// pool, Resume with a new table, pool messages, Status with Flush) take as
// long as the disk does.
//
// # Errors
//
// A refusal by the kernel is an *Error. errors.Is finds in it both the
// kernel's errno and, where the errno means something more particular in that
// call, one of the sentinels, such as ErrNotExist, ErrBusy or ErrThinExist.
// Arguments are checked before the kernel is asked (*InvalidError), and its
// answers are read with suspicion (*FormatError).
//
// # Units
//
// Lengths are Sectors of 512 bytes; a pool counts in DataBlocks, whose size
// it was made with, and in MetadataBlocks of 4 KiB.
//
// # Sources
//
// The interface is the kernel's include/uapi/linux/dm-ioctl.h and
// drivers/md/dm-ioctl.c; the thin targets are drivers/md/dm-thin.c and
// Documentation/admin-guide/device-mapper/thin-provisioning.rst.
package devicemapper
