// Package lab is a Kubernetes cluster whose nodes have a real device mapper, on a machine that may have none.
//
// The control plane (etcd, kube-apiserver, kube-controller-manager, kube-scheduler) runs as plain processes; every node is a
// User Mode Linux guest with a kernel of its own, in which containerd and kubelet run. All of it lives in a network, a mount
// and a PID namespace of its own: ending the first process there ends the lab and leaves nothing behind.
//
// A test attaches to a lab that is up, or brings one up, and then has a kubeconfig and nodes it may pull the plug of:
//
//	l, err := lab.Up(ctx, lab.Options{Progress: os.Stderr})
//	client := clientFor(l.Kubeconfig())       // an ordinary kubeconfig: no namespace to enter
//	err = l.LoadImage(ctx, "controller.tar")  // docker-archive, into every node's containerd
//	node, err := l.Node(ctx, "node-a")
//	result, err := node.Exec(ctx, "ls", lab.PoolDevice)
//	err = node.PowerCut(ctx)
//	err = node.Boot(ctx)                      // returns when Kubernetes calls the node Ready
//	err = l.Down(ctx)
//
// The API server is reached through a listener on the host's loopback that was opened before the namespaces were entered
// and handed to the lab's supervisor, so a kubeconfig works from any process of the machine while all other traffic stays
// inside.
//
// # Where things are
//
// This package is the client's side. Below it:
//
//   - control: the messages between this package and the supervisor, over a unix socket
//   - cluster: the supervisor: certificates, control plane, bridge and taps, nodes
//   - node: what runs inside a node: its init, containerd, kubelet, and an agent that executes commands
//   - toolchain: builds Kubernetes and everything else from Go modules, once per version
//   - image: container images without a registry or a container engine, and the project's Dockerfile
//   - cmd/lab, cmd/lab-node: the two programs
//   - tools: the Go modules of the programs that need one of their own
package lab
