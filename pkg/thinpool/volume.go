package thinpool

import (
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// VolumeSpec is what a caller asks for.
type VolumeSpec struct {
	// Name of the volume: at most 96 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit.
	Name string
	// Size in bytes, greater than 0. It is rounded up to whole pool blocks.
	Size int64
	// File system and mkfs options. The volume is a snapshot of the base that was formatted so.
	Format filesystem.Format
}

// Volume is a volume that the pool holds, as its registry knows it.
type Volume struct {
	Name string
	// Id of the thin device in the pool: 0 to 2^24 - 1. Ids only rise; one is never used again.
	ThinID uint32
	// Size of the thin device in bytes.
	Size   int64
	Format filesystem.Format
}
