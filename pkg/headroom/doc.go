// Package headroom is the one rule for how much a thin pool can still promise: a pure function, [Of], from a pool's
// figures ([Pool]) to what may be made in it ([Room]).
//
// Two sides ask it. The controller publishes its answer as CSIStorageCapacity and admits requests by it; the engine
// (package thinpool) admits volumes by it. As it is the same function on the same figures, a volume that was placed by the
// published capacity is not refused on the node for another reason.
//
// Space is promised by the size of a volume, not by what it holds. Without overprovisioning every promise can be kept:
// TestPromisesAreKept.
package headroom
