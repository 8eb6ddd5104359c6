// Package control is what package lab and the lab's supervisor say to each other: HTTP with JSON bodies over the unix socket
// [Socket] in the lab's run directory. An error is a status of 400 and above with a text body of one line.
package control

import "time"

// Socket is the name of the supervisor's socket in the lab's run directory.
const Socket = "control.sock"

// The supervisor's requests. {name} is a node's name.
const (
	StatusPath   = "/status"                // GET: Status
	NodesPath    = "/nodes"                 // POST NodeOptions: Node, once Kubernetes calls it Ready
	BootPath     = "/nodes/{name}/boot"     // POST: boots a node that is off, answers once it is Ready
	PowerCutPath = "/nodes/{name}/powercut" // POST: ends a node's guest without warning
	ExecPath     = "/nodes/{name}/exec"     // POST ExecRequest: ExecResult
	ImagesPath   = "/images"                // POST LoadImageRequest
)

// Status is the state of a lab.
type Status struct {
	// Since is when the lab was brought up.
	Since time.Time `json:"since"`
	// Supervisor is the process id, as the host sees it, of the lab's first process.
	Supervisor int         `json:"supervisor"`
	Kubeconfig string      `json:"kubeconfig"`
	Components []Component `json:"components"`
	Nodes      []Node      `json:"nodes"`
}

// Component is a process of the control plane.
type Component struct {
	Name    string `json:"name"`
	Running bool   `json:"running"`
	// ResidentBytes is the memory the process has in use.
	ResidentBytes int64  `json:"residentBytes"`
	Log           string `json:"log"`
}

// Node is a node of the cluster.
type Node struct {
	Name string `json:"name"`
	// Address is the node's address on the lab's bridge.
	Address string `json:"address"`
	// Running tells whether the guest has power; Ready what Kubernetes thinks of it.
	Running bool `json:"running"`
	Ready   bool `json:"ready"`
	// MemoryBytes is the guest's memory, PoolDiskBytes the size of its raw disk.
	MemoryBytes   int64 `json:"memoryBytes"`
	PoolDiskBytes int64 `json:"poolDiskBytes"`
	// Console is the log of the guest's console, Logs the folder with containerd's, kubelet's and kube-proxy's logs.
	Console string `json:"console"`
	Logs    string `json:"logs"`
}

// NodeOptions describe a node to be made. Zero values are replaced by defaults.
type NodeOptions struct {
	// Name is a DNS label of at most 20 characters; the default is the first free one of node-a, node-b, …, node-z.
	Name string `json:"name,omitempty"`
	// PoolDiskBytes is the size of the node's raw disk, [MinimumPoolDisk] at least; the disk is a sparse file.
	PoolDiskBytes int64 `json:"poolDiskBytes,omitempty"`
	// MemoryBytes is the guest's memory.
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
}

// Bounds and defaults of NodeOptions, in bytes.
const (
	DefaultPoolDisk = 4 << 30
	MinimumPoolDisk = 16 << 20
	DefaultMemory   = 1 << 30
	MinimumMemory   = 512 << 20
)

// ExecRequest is a command to be run on a node as root, in the node's root and outside of any container.
type ExecRequest struct {
	Argv  []string `json:"argv"`
	Stdin []byte   `json:"stdin,omitempty"`
	// Environment is added to the agent's own, as KEY=VALUE words.
	Environment []string `json:"environment,omitempty"`
}

// ExecResult is what a command left behind.
type ExecResult struct {
	Stdout []byte `json:"stdout"`
	Stderr []byte `json:"stderr"`
	// ExitStatus is the command's status, 128 plus the signal's number if a signal ended it.
	ExitStatus int `json:"exitStatus"`
}

// LoadImageRequest loads a docker-archive into all nodes.
type LoadImageRequest struct {
	// Archive is an absolute path on the host.
	Archive string `json:"archive"`
}
