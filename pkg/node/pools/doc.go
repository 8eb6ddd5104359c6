// Package pools holds the thin pools that are open on this node. The agent opens and closes them, the CSI service looks
// volumes up in them, the admin's endpoint and the metrics read them.
//
// A pool that the node should have but that is not open is known too, with the reason: a volume that is in no open pool is
// "not found" only if every pool was looked into.
package pools
