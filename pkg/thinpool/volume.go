package thinpool

import (
	"time"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// VolumeSpec is what a caller asks for.
type VolumeSpec struct {
	// Name of the volume: at most 96 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit.
	Name string
	// Size in bytes, greater than 0. It is rounded up to whole pool blocks. With a Source it is at least the source's size,
	// and 0 stands for that.
	Size int64
	// File system and mkfs options. The volume is a snapshot of the base that was formatted so. With a Source its type may
	// be given, and must be the source's then; options may not.
	Format filesystem.Format
	// Name of a volume of the same pool with whose contents the new one begins: a snapshot, or a clone. Empty: none.
	Source string
	// Owner of a volume that is to live no longer than that one does, in the caller's words: 1 to 512 letters, digits and '.', '_',
	// '~', ':', '/' and '-'. The pool keeps it and does nothing by it. Empty: the volume stays until somebody deletes it.
	Owner string
}

// Volume is a volume that the pool holds, as its registry knows it.
type Volume struct {
	Name string
	// Id of the thin device in the pool: 0 to 2^24 - 1. Ids only rise; one is never used again.
	ThinID uint32
	// Size of the thin device in bytes. The file system on it is smaller where the volume was grown, or made from a smaller
	// one, until it is grown as well.
	Size   int64
	Format filesystem.Format
	// Name of the volume that it began as, which may be gone by now; empty: none.
	Source string
	// Owner that it was made for; empty: none.
	Owner   string
	Created time.Time
	// How long the source's I/O was held back at most, if it was this call that made the volume from one in use.
	SourceHeld time.Duration
}
