// Package node runs the driver's part on a node, one process with three jobs that know nothing of each other:
//
//   - package csi answers kubelet: a volume is staged and published;
//   - package agent makes pools and volumes what the cluster's objects say;
//   - package registration makes kubelet know the driver.
//
// What they share is the set of open pools (package pools). Beside them the process answers admins (package admin), probes
// and Prometheus (http.go).
//
// The order of things matters at the start and at the end. Pools that the node had are opened before kubelet may ask for
// their volumes, and kubelet is told of the driver last; at the end it is told first, and the pools are closed when nobody
// uses them any more. Their kernel devices stay: pods notice nothing of a restart.
package node
