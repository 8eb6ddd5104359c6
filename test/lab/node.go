package lab

import (
	"context"
	"fmt"
	"strings"

	"github.com/csi-dm/csi-dm/test/lab/control"
)

// Node is a node of a lab. Its fields are a snapshot taken when the Node was got; its methods act on the live node and may be
// called from any goroutine.
type Node struct {
	control.Node
	client *client
}

// PowerCut pulls the plug: what the node had not flushed to its disks is gone. It returns when the guest is gone and is an
// error on a node that is off.
func (n *Node) PowerCut(ctx context.Context) error {
	return n.client.post(ctx, n.path(control.PowerCutPath), nil, nil)
}

// Boot boots a node that is off, on the same disks and with the same name and address, and returns once its kubelet has
// reported and Kubernetes calls it Ready.
func (n *Node) Boot(ctx context.Context) error {
	return n.client.post(ctx, n.path(control.BootPath), nil, nil)
}

// Exec runs a command on the node as root, outside of any container, and returns its output and exit status. The error is
// about running it at all: a status other than 0 is none. The command is killed when ctx ends.
func (n *Node) Exec(ctx context.Context, argv ...string) (control.ExecResult, error) {
	return n.Run(ctx, control.ExecRequest{Argv: argv})
}

// Run is Exec with standard input and environment.
func (n *Node) Run(ctx context.Context, request control.ExecRequest) (control.ExecResult, error) {
	var result control.ExecResult
	err := n.client.post(ctx, n.path(control.ExecPath), request, &result)
	return result, err
}

// Output is Exec for a command that must succeed: it returns what the command wrote to standard output, without white space
// at the end, and an *ExitError if the status was not 0.
func (n *Node) Output(ctx context.Context, argv ...string) (string, error) {
	result, err := n.Exec(ctx, argv...)
	if err != nil {
		return "", err
	}
	if result.ExitStatus != 0 {
		return "", &ExitError{Node: n.Name, Argv: argv, Result: result}
	}
	return strings.TrimRight(string(result.Stdout), " \t\n"), nil
}

func (n *Node) path(pattern string) string { return strings.Replace(pattern, "{name}", n.Name, 1) }

// ExitError is a command on a node that ended with a status other than 0.
type ExitError struct {
	Node   string
	Argv   []string
	Result control.ExecResult
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%s: %s: exit status %d: %s", e.Node, strings.Join(e.Argv, " "), e.Result.ExitStatus,
		strings.TrimSpace(string(e.Result.Stderr)))
}
