// Package controller puts the parts of the controller together and runs them.
//
// Three jobs, a package each, over one set of informer caches (package view):
//
//   - package csi answers csi-provisioner's calls. It runs on every replica, beside a csi-provisioner of its own.
//   - package capacity publishes CSIStorageCapacity. It runs on the leader.
//   - package lifecycle keeps NodeThinPools and ThinPools in step with the cluster. It runs on the leader.
//
// The controller never speaks to a node: both write objects, and read the other's.
package controller
