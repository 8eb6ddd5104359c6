// Package sanity runs csi-sanity, the CSI project's own test of a driver, on a node of a lab's cluster, where the sockets of
// the node plugin and of a controller are, and reads what became of each of its cases.
package sanity
