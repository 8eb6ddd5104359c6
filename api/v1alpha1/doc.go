// Package v1alpha1 holds the kinds of the API group csi-dm.io and the names that csi-dm shares with Kubernetes.
//
// These kinds carry the driver's whole state in the cluster:
//
//   - [ThinPool] is written by the admin: which nodes own a pool, and what it is made of.
//   - [NodeThinPool] is one pool on one node. The controller makes it from a ThinPool and a matching Node; the node writes
//     its status: identity, size, use, health.
//   - [ThinVolume] is one volume. The controller writes its spec, the node that owns the thin device writes its status.
//   - [ThinSnapshot] is what a volume held at one moment, written likewise.
//   - [ThinGroupSnapshot] orders snapshots of several volumes at one moment.
//
// All but ThinPool have spec.nodeName as a selectable field, so that a node watches its own objects and no others.
// All kinds are cluster-scoped. Everything that the API server can validate is validated there, by schema or by CEL.
//
// +kubebuilder:object:generate=true
// +groupName=csi-dm.io
package v1alpha1
