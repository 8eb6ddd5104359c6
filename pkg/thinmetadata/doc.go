// Package thinmetadata reads the metadata of a thin pool as the kernel writes it (drivers/md/dm-thin-metadata.c and
// drivers/md/persistent-data): the superblock, and the thin devices that the details tree lists. It only reads.
//
// The metadata of a live pool changes underneath a reader. Reserve a metadata snapshot with a message to the pool, read
// from the root that the pool's status then names, and release it. Read through [Open]: what the kernel writes below the
// page cache is not seen by buffered reads.
package thinmetadata
