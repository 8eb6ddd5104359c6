// Package trim has the mounted file systems of a node give back to their pools what they do not use any more. A file that is deleted
// in a volume leaves its blocks allocated in the pool until the file system discards them: at once, with the mount option discard, or
// when it is asked to.
//
// trimmer.go asks, one volume after the other, once in an interval. mount.go finds where a volume is mounted; metrics.go counts what
// came back. Which volumes, and when a pool has the time, is the engine's to say (thinpool.Pool.Trim).
package trim
