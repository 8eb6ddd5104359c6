// Package cluster is the inside of the lab: what runs in the lab's network, mount and PID namespaces.
//
// [Init] is process 1 there. It makes the mounts private and runs [Supervise] below it, which in this order
//
//   - makes a bridge, with 192.168.77.1 for everything that is not a node, and listens there for the nodes' logs,
//   - makes certificates and kubeconfigs, and forwards the listener on the host's loopback that it inherited,
//   - starts etcd and Kubernetes' servers as plain processes, and the nodes' guests at the same time,
//   - loads the images into each node's containerd, and lets kubelet start once kube-apiserver answers,
//   - reports to "lab up" that the lab is up, and from then on serves the requests of package control on a unix socket.
//
// The control plane's data is on a tmpfs of the mount namespace and goes with it.
package cluster
