// Package csi is the CSI Identity and Node service: what kubelet asks of the driver when a pod needs its volume.
//
// The way of a volume to a pod, each step a file:
//
//	stage.go      the thin device is made, its superblock is looked at, and it is mounted
//	publish.go    the mount is shown in the pod's directory
//	stats.go      how full is it
//	unpublish.go, unstage.go   and back
//
// An inline ephemeral volume takes another way, see inline.go: it is made when it is published (inline_publish.go), deleted when it is
// unpublished (inline_delete.go), and where kubelet has forgotten it, inline_reclaim.go has not.
//
// Nothing is formatted here, no program is run on the clean way, and the API server is not asked: a volume is found in
// the registries of the pools that are open on this node (package pools).
//
// What kubelet sends is checked as if it came from anywhere: handles by a fixed pattern, options by an allow-list, paths
// by resolving them below kubelet's directory without following links (package confinedpath). Every call may be repeated;
// two calls for one volume at once are answered with Aborted (inflight.go). Errors become gRPC codes in errors.go only.
package csi
