package thinpool

import (
	"fmt"
	"reflect"
)

// Config says what a pool is made of and how it behaves. It is what [Open] takes; Open refuses what is not acceptable with
// a *FieldError before it touches a device.
type Config struct {
	// Name of the pool: at most 40 lower-case letters, digits and '-'. It is recorded in the pool.
	Name string

	// What the pool is made of.
	Source Source

	// Size of a pool block in bytes: a multiple of 64 KiB from 64 KiB to 1 GiB. Fixed when the pool is made. With
	// Source.ThinPoolDevice 0 takes the pool's own, and another than that is refused.
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

// Source is what a pool is made of. Exactly one of Devices, DataDevice with MetadataDevice, ThinPoolDevice, and Loopback is
// set. Devices are named by absolute paths.
type Source struct {
	// Raw block devices for exclusive use. The first carries the registry and the pool's metadata.
	Devices []string
	// Two raw block devices for exclusive use: one for data and the registry, one for metadata alone, usually a faster one.
	DataDevice, MetadataDevice string
	// Signatures that may be removed from Devices, or from DataDevice and MetadataDevice, by the name that the refusal gave.
	Force []string
	// A thin pool of device mapper that somebody else made and activates, LVM for example, handed over for exclusive use. It
	// must be unused when it is taken over. Its table and the devices below stay its owner's: Open refuses a pool that is
	// not there, Shutdown leaves it, and what the table says of full pools and discards holds, whatever the Config asks for.
	ThinPoolDevice string
	// A sparse file behind a loop device, which is made when there is none.
	Loopback *Loopback
}

// separate tells whether the metadata has a device of its own.
func (s Source) separate() bool { return s.DataDevice != "" || s.MetadataDevice != "" }

// same tells whether two sources name the same devices in the same order, and the same size of a file.
func (s Source) same(other Source) bool {
	s.Force, other.Force = nil, nil
	return reflect.DeepEqual(s, other)
}

// sourcePath is a path of a source's device and the field that names it.
type sourcePath struct{ field, path string }

// paths are the devices that csi-dm divides itself, in the order in which the label counts them. A loop file is none.
func (s Source) paths() []sourcePath {
	if s.separate() {
		return []sourcePath{{"source.dataDevice", s.DataDevice}, {"source.metadataDevice", s.MetadataDevice}}
	}
	paths := make([]sourcePath, len(s.Devices))
	for i, path := range s.Devices {
		paths[i] = sourcePath{fmt.Sprintf("source.devices[%d]", i), path}
	}
	return paths
}

// Loopback puts the pool on a sparse file.
type Loopback struct {
	// Path of the file. It is made when it does not exist.
	Path string
	// Size of the file in bytes: from 256 MiB to 16 TiB.
	Size int64
}
