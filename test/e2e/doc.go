// Package e2e holds the end-to-end tests: csi-dm installed by its chart into a lab's cluster (package lab), on nodes with a real
// device mapper. They carry the build tag e2e; docs/testing-e2e.md says how to run them.
//
//   - install_test.go: the chart makes pools ready on every node
//   - data_test.go: what a pod fsynced is there after its pod, and after its node's power, is gone
//   - mkfs_test.go: no pod start runs mkfs
//   - capacity_test.go: pods go where there is room, wait where there is none
//   - deletion_test.go: a deleted claim leaves nothing
//   - kill_test.go, upgrade_test.go: no volume is lost, none made twice, whatever is killed, upgraded or uninstalled
//   - sanity_test.go: csi-sanity passes against what is installed
//   - testdriver_test.go: what testdriver.yaml tells Kubernetes' external storage suite is what the driver can
//   - refusal_test.go: bad input is refused with what is wrong and what is allowed
//
// Packages below: cluster (claims, pods, waits, a node's kernel), deployment (images, chart, pools), sanity (csi-sanity), exectrace (which programs
// ran on a node); demo is the program behind make demo.
package e2e
