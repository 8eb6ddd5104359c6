// Package node is what runs inside a node of the lab: a User Mode Linux guest whose root begins as the host's root directory,
// read-only.
//
// [Init] is the guest's process 1. It lays an overlay over that root, whose upper half is on the node's system disk and so
// outlives a power cut, moves there, and runs [Serve] as the only child it knows about, while it reaps all others. Serve
// starts containerd and then the agent, an HTTP server by which the lab's supervisor runs commands and says when kubelet and
// kube-proxy are to start.
//
//	/             overlay: the host's root below, /upper of the system disk above
//	/.host        the host's root itself, read-only and never cached by the overlay: programs and configuration come from here
//	/var/lib/{containerd,kubelet}  folders of the system disk, for overlayfs does not stack on itself
//	/run          a tmpfs, empty at each boot
//	/dev/ubdb     the raw disk
//
// The output of containerd, kubelet and kube-proxy goes over the lab's bridge to the supervisor, which writes the logs, so
// that nothing of them is lost when the plug is pulled.
package node
