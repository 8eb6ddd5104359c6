// Package view is the cluster as the controller sees it: typed questions to the informer caches.
//
// The controller keeps no state of its own. What a pool can still promise ([View.Assess]) is computed, whenever somebody
// asks, from the NodeThinPool's status, from the ThinVolumes and ThinSnapshots that exist and from the health of the node. So
// every replica, and a controller that was just started, gives the same answer:
//
//   - [CacheOptions] says what is cached, and what of it is dropped on arrival; [AddIndexes] makes the questions cheap.
//   - [View.Node] finds a node by its topology value, [View.Unavailable] tells what keeps it from making volumes.
//   - [View.Owns] tells whether a ThinPool belongs on a node.
//   - [View.Assess] and [View.Room] give a pool's headroom.
//   - [View.Classes] are the StorageClasses of a pool.
//
// All of it is safe for concurrent use.
package view
