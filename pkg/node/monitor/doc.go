// Package monitor finds out what is wrong with a node's pools and volumes, by what the kernel and the registries say at the
// moment. It keeps nothing but what the last attempts to stage volumes have met.
//
//   - [Monitor.Pool] and [OfPool]: what is wrong with a pool, and so with all of its volumes.
//   - [Monitor.Volumes] and [Monitor.Volume]: what is wrong with volumes alone.
//   - [Monitor.Staged] is told how staging a volume ended.
//
// The CSI service answers kubelet's health calls with it, the agent puts it into conditions, and the metrics count it. None of
// it changes anything, and none of it reads from a volume: a disk that does not answer keeps nobody waiting.
package monitor
