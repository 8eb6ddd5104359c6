// Package thinmetadata reads the metadata of a thin pool as the kernel writes it (drivers/md/dm-thin-metadata.c and
// drivers/md/persistent-data): the superblock, the thin devices (details.go), what each maps (mappings.go), and how the
// pool's data is divided among them (usage.go). It reads, but for two fields of the superblock of a pool that is not active
// (settime.go, heldroot.go).
//
// The metadata of a live pool changes underneath a reader. Reserve a metadata snapshot with a message to the pool, read
// from the root that the pool's status then names, and release it. Read through [Open]: what the kernel writes below the
// page cache is not seen by buffered reads. Metadata of a pool that is not active is read from block 0. A metadata snapshot
// that a power cut has left may never have been committed; heldroot.go tells, by the space map (spacemap.go).
//
// Nothing that is read is believed. Each block's checksum and place, each node's form and order of keys (node.go), and the
// depth of each tree are checked, and what does not hold is [ErrDamaged]; a reader ends, and in bounded memory, whatever
// it is given.
package thinmetadata
