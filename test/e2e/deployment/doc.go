// Package deployment puts csi-dm into a lab's cluster as an admin would: two images built by the project's Dockerfile, the
// chart installed by helm, a ThinPool on each node's raw disk.
//
// All of it is named by its content, so that [Deployment.Ensure] on a cluster that already has what the work tree holds does
// nothing slow, and after a change of the driver replaces the binary and no more.
package deployment
