package lab

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/csi-dm/csi-dm/test/lab/control"
)

// PoolDevice is the raw disk of every node, meant for a thin pool: blank when the node is added, kept over power cuts.
const PoolDevice = "/dev/ubdb"

var (
	// ErrNotRunning means that no lab is up.
	ErrNotRunning = errors.New("no lab is up")
	// ErrNoSuchNode means that the lab has no node of that name.
	ErrNoSuchNode = errors.New("no such node")
)

// Options say what Up brings up.
type Options struct {
	// Nodes are the nodes to begin with; node-a and node-b if empty.
	Nodes []control.NodeOptions
	// Progress gets a line per step; nil for silence.
	Progress io.Writer
}

// Lab is a lab that is up. Its methods may be called from any goroutine.
type Lab struct {
	paths  Paths
	client *client
}

// Attach returns the lab that is up, or ErrNotRunning.
func Attach(ctx context.Context) (*Lab, error) {
	paths, err := DefaultPaths()
	if err != nil {
		return nil, err
	}
	l := &Lab{paths: paths, client: newClient(paths.Socket())}
	if _, err := l.Status(ctx); err != nil {
		return nil, err
	}
	return l, nil
}

// Status asks the supervisor how the lab is.
func (l *Lab) Status(ctx context.Context) (control.Status, error) {
	var status control.Status
	if err := l.client.get(ctx, control.StatusPath, &status); err != nil {
		return status, err
	}
	// The supervisor knows itself by another number.
	var err error
	status.Supervisor, err = firstProcess(l.paths)
	return status, err
}

// Kubeconfig is the path of a kubeconfig file with the rights of system:masters. It works from any process on this machine.
func (l *Lab) Kubeconfig() string { return l.paths.Kubeconfig() }

// Paths tells where the lab keeps its files.
func (l *Lab) Paths() Paths { return l.paths }

// Nodes returns the lab's nodes in order of name, running or not.
func (l *Lab) Nodes(ctx context.Context) ([]*Node, error) {
	status, err := l.Status(ctx)
	if err != nil {
		return nil, err
	}
	nodes := make([]*Node, 0, len(status.Nodes))
	for _, node := range status.Nodes {
		nodes = append(nodes, &Node{Node: node, client: l.client})
	}
	return nodes, nil
}

// Node returns the node of that name, or ErrNoSuchNode.
func (l *Lab) Node(ctx context.Context, name string) (*Node, error) {
	nodes, err := l.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, node := range nodes {
		if node.Name == name {
			return node, nil
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrNoSuchNode, name)
}

// AddNode adds a node at run time, boots it, loads the lab's images and returns once Kubernetes calls it Ready.
func (l *Lab) AddNode(ctx context.Context, options control.NodeOptions) (*Node, error) {
	var node control.Node
	if err := l.client.post(ctx, control.NodesPath, options, &node); err != nil {
		return nil, err
	}
	return &Node{Node: node, client: l.client}, nil
}
