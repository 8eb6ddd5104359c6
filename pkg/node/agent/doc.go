// Package agent makes this node's pools and volumes what the cluster's objects say.
//
// It watches the NodeThinPools, ThinVolumes and ThinSnapshots of its own node and no others:
//
//	cluster.go         the manager: what is watched, what is asked of the API server
//	pool_reconciler.go a NodeThinPool: the pool is opened, and shut down (pool_removal.go); pool_report.go says how it is
//	pool_watch.go      the kernel's events of each open pool
//	reconciler.go      what stands for something in a pool: it is made, changed, or deleted (removal.go); one status write each
//	volume_kind.go     a ThinVolume: a thin device
//	snapshot_kind.go   a ThinSnapshot: likewise, as another one is
//	group_kind.go      a ThinGroupSnapshot: several of them at one moment
//	reasons.go         what goes wrong, as conditions that the controller acts on
//
// Nothing here is on a pod's way to its volume. While the API server is away the agent goes on with what it knew:
// remembered.go keeps the pools' settings in a file, so that even an agent that starts then opens its pools.
//
// What the objects hold can be lost and made again; what the pool's registry holds cannot. Hence three rules: a volume
// that was once made is never made a second time (it would come back empty), no volume is made before the pool's identity
// stands in its object, and a pool's devices are left alone when its object goes.
package agent
