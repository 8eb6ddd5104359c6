// Package csi is the CSI Controller service: it turns calls that make, grow and delete volumes into writes of ThinVolume objects
// and waits, on a watch, for what the node makes of them.
//
// # CreateVolume
//
// A request is read and checked (request.go), its node chosen (node.go), room for it looked for (admit.go), and then one
// object written: a ThinVolume whose name follows from request and node. From there on the node works and writes the
// status once; the call sleeps until the object changes (await.go). What the node refuses, or cannot do because it is
// not there, is taken back (withdraw.go): first the lowered capacity is published, then the ThinVolume deleted, then
// RESOURCE_EXHAUSTED answered, which makes csi-provisioner give the pod back to the scheduler. A timeout would not: to
// csi-provisioner it means that the volume may come into being on that node, for as long as it takes.
//
// # ControllerExpandVolume
//
// The capacity in the ThinVolume is raised if the pool has the headroom (expand.go), and the call sleeps until the node says that
// the thin device has the size (await_grown.go). A growth that the node refuses is taken back.
//
// # State
//
// There is none. A call that is repeated, on this replica or another, finds its ThinVolume by name and goes on waiting. The
// only thing that is kept, and only while a call lasts, is which volumes it has promised (assumed.go): the informer's
// caches show an object a moment after it was written, and two calls must not both be given the last room.
package csi
