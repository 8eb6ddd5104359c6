// Package capacity publishes what each node can still promise, as CSIStorageCapacity objects, for the scheduler.
//
// There is exactly one object per StorageClass of the driver and node that owns the class's pool:
//
//   - Its name follows from class and node ([ObjectName]), so two controllers can never make two.
//   - Its owner is the NodeThinPool, so it goes with the pool's part even while no controller runs.
//   - Its figures are the headroom that package view computes; capacity is the room for all volumes together,
//     maximumVolumeSize the room for the largest one. Both are zero where no volume can be made.
//
// [Publisher] brings one object to what it must be; it writes nothing where nothing changes. The CSI service calls it
// before it refuses a request for lack of room: the scheduler must know before it chooses again. [Tracker] calls it whenever
// something changes that a figure depends on; changes within a tenth of a second are taken together. [Sweeper] deletes
// what should not be there: duplicates, and objects of classes, nodes and pools that are gone.
package capacity
