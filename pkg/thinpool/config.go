package thinpool

// Config says what a pool is made of and how it behaves. It is what [Open] takes; Open refuses what is not acceptable with
// a *FieldError before it touches a device.
type Config struct {
	// Name of the pool: at most 40 lower-case letters, digits and '-'. It is recorded in the pool.
	Name string

	// What the pool is made of.
	Source Source

	// Size of a pool block in bytes: a multiple of 64 KiB from 64 KiB to 1 GiB. Fixed when the pool is made.
	BlockSize int64

	// Share of data space and of metadata space, in percent from 0 to 99, below which the pool admits no new volume.
	MinFreePercent int

	// How many times the data space may be promised, in thousandths from 1,000 to 100,000.
	OverprovisionMilli int64

	// Whether writers get ENOSPC at once when the data space is full, or wait (at most the kernel's no_space_timeout).
	ErrorIfNoSpace bool

	// Whether discards reach the devices below: of the blocks of deleted volumes, and those that file systems send.
	DiscardPassdown bool
}

// Source is what a pool is made of. Exactly one of Devices and Loopback is set.
type Source struct {
	// Raw block devices for exclusive use, as absolute paths. The first carries the registry and the pool's metadata.
	Devices []string
	// Signatures that may be removed from Devices, by the name that the refusal gave.
	Force []string
	// A sparse file behind a loop device, which is made when there is none.
	Loopback *Loopback
}

// Loopback puts the pool on a sparse file.
type Loopback struct {
	// Path of the file. It is made when it does not exist.
	Path string
	// Size of the file in bytes: from 256 MiB to 16 TiB.
	Size int64
}
