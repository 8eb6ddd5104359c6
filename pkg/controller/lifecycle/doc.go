// Package lifecycle keeps the driver's objects in step with the cluster. It runs on the leader.
//
//   - [Parts] makes a NodeThinPool for each ThinPool and node that belong together, copies the ThinPool's settings into it,
//     and takes it away when they belong together no more and no volume is left in it.
//   - [ThinPools] sums up a ThinPool over its nodes, and keeps one that is being deleted until its volumes are gone.
//   - [Volumes] takes away what a controller that was ended in the middle left behind: volumes that their node refused,
//     and deleted volumes whose node does not exist any more.
//   - [Announcer] turns the conditions that nodes report into events: the nodes' account may not write events.
//   - [Claims] says at a claim what has become wrong with its volume, and that it is well again.
//   - [Classes] says what is wrong with a StorageClass where its owner looks: at the class, and at the claims that wait.
//   - [Applier] makes the ThinPools that the chart's values name.
//
// Nothing here deletes a volume that a node has made.
package lifecycle
