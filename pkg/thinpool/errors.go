package thinpool

import (
	"errors"
	"fmt"
)

// What can be wrong, for errors.Is. Every error of this package that a caller can act on wraps one of these in an [Error].
var (
	// ErrInvalid: an argument or the pool's configuration is not acceptable; a *FieldError says which field.
	ErrInvalid = errors.New("invalid")
	// ErrSignatureFound: a device carries a signature of something else and was left alone.
	ErrSignatureFound = errors.New("device carries a signature")
	// ErrDeviceInUse: a device that a new pool was to be made on is mounted or part of something else.
	ErrDeviceInUse = errors.New("device is in use")
	// ErrForeignPool: a device belongs to another csi-dm pool than the one that was asked for.
	ErrForeignPool = errors.New("device belongs to another pool")
	// ErrSourceChanged: the configuration names other devices, or another block size, than the pool was made with.
	ErrSourceChanged = errors.New("configuration differs from the pool")
	// ErrNotGrown: space that the source offers could not be taken in, for the reason that the error wraps too. The pool is
	// as it was.
	ErrNotGrown = errors.New("pool could not grow")
	// ErrDeviceNotFound: a device of the source does not exist.
	ErrDeviceNotFound = errors.New("device not found")
	// ErrFormatNewer: the pool was written by a newer csi-dm whose format this one does not know.
	ErrFormatNewer = errors.New("pool format is newer than this driver")
	// ErrPoolDamaged: the pool's label, registry or metadata superblock is not what it must be; nothing was changed.
	ErrPoolDamaged = errors.New("pool is damaged")
	// ErrPoolFailed: the kernel holds the pool read-only or failed, or demands a check of its metadata.
	ErrPoolFailed = errors.New("pool has failed")
	// ErrMetadataHeld: somebody outside of csi-dm reads the pool's metadata, which the kernel lets one reader do at a time.
	ErrMetadataHeld = errors.New("the pool's metadata snapshot is held by somebody else")
	// ErrNotApproved: a repair would do something that it was not told to do; nothing was changed.
	ErrNotApproved = errors.New("repair needs a step that was not agreed to")
	// ErrNotOwned: the pool is somebody else's, who checks and repairs it.
	ErrNotOwned = errors.New("pool is its owner's to check and repair")
	// ErrPoolClosed: the pool was closed.
	ErrPoolClosed = errors.New("pool is closed")
	// ErrNoSpace: the pool has no room for what was asked, or does not admit new volumes.
	ErrNoSpace = errors.New("no space in pool")
	// ErrBelowMinFree: so little data or metadata space is free that the pool admits no new volume. It matches ErrNoSpace.
	ErrBelowMinFree = fmt.Errorf("%w: below minFreeSpace", ErrNoSpace)
	// ErrPoolFull: the pool has no free data block, or no free metadata, at all. It matches ErrNoSpace.
	ErrPoolFull = fmt.Errorf("%w: full", ErrNoSpace)
	// ErrThinIDs: the pool has used up the thin ids that the kernel's metadata format allows. It makes no volume any more.
	ErrThinIDs = errors.New("thin ids of the pool are used up")
	// ErrRegistryFull: the registry has no room for another entry.
	ErrRegistryFull = errors.New("registry is full")
	// ErrSnapshotBudget: the pool has used up the snapshots that the kernel's metadata format allows.
	ErrSnapshotBudget = errors.New("snapshot budget of the pool is used up")
	// ErrVolumeNotFound: the pool holds no volume of that name.
	ErrVolumeNotFound = errors.New("volume not found")
	// ErrVolumeExists: the pool holds a volume of that name with another size or file system.
	ErrVolumeExists = errors.New("volume exists and differs")
	// ErrSourceNotFound: the pool holds no volume of the name that another was to be made from. It matches ErrVolumeNotFound.
	ErrSourceNotFound = fmt.Errorf("source %w", ErrVolumeNotFound)
	// ErrSyncFailed: the file system of a snapshot's source, or its device, lost writes, and no snapshot was made.
	ErrSyncFailed = errors.New("writes to the source of the snapshot were lost")
	// ErrShrink: a volume is not made smaller.
	ErrShrink = errors.New("volume is larger")
	// ErrBaseNotFound: the pool holds no base on that thin id.
	ErrBaseNotFound = errors.New("base not found")
	// ErrBaseDamaged: a base does not carry the file system that was made on it: it was exchanged or damaged, while the pool
	// itself works.
	ErrBaseDamaged = errors.New("base was exchanged or damaged")
	// ErrTrimBusy: the pool gives back blocks of something else, or is not well: this is not the time to trim.
	ErrTrimBusy = errors.New("pool has no time for a trim")
	// ErrTrimShared: the volume may share blocks with another one, and the pool passes discards down: it is not trimmed.
	ErrTrimShared = errors.New("volume may share blocks, and discards are passed down")
	// ErrVolumeInactive: the volume has no block device.
	ErrVolumeInactive = errors.New("volume is not active")
	// ErrVolumeInUse: the volume's device is open (mounted, usually).
	ErrVolumeInUse = errors.New("volume is in use")
)

// Error says what failed, on which pool and volume. It unwraps to a sentinel of this package and, where the kernel
// refused, to its errno.
type Error struct {
	Op     string // what was tried: "open", "create", "activate", …
	Pool   string // the pool's name
	Volume string // the volume's name, or empty
	Err    error
}

func (e *Error) Error() string {
	if e.Volume == "" {
		return fmt.Sprintf("%s pool %q: %v", e.Op, e.Pool, e.Err)
	}
	return fmt.Sprintf("%s volume %q in pool %q: %v", e.Op, e.Volume, e.Pool, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// FieldError names a field that is not acceptable, its value and what is allowed. It matches ErrInvalid.
type FieldError struct {
	Field   string
	Value   string
	Allowed string
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("%s: %q is not allowed: %s", e.Field, e.Value, e.Allowed)
}

// Is makes a FieldError match ErrInvalid.
func (e *FieldError) Is(target error) bool { return target == ErrInvalid }
