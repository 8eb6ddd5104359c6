package cluster

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/lab"
)

// Cluster is a lab's cluster and a client for it. It may be used from any goroutine.
type Cluster struct {
	client.Client
	Lab *lab.Lab
}

// Connect makes a client for the lab's cluster.
func Connect(l *lab.Lab) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read the lab's kubeconfig: %w", err)
	}
	// No limit: a limiter that cannot answer before a deadline would hide what was waited for.
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	kubernetes, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make a client for the lab's cluster: %w", err)
	}
	return &Cluster{Client: kubernetes, Lab: l}, nil
}

// Kubectl runs kubectl and returns its standard output. What it wrote to standard error is in the error.
func (c *Cluster) Kubectl(ctx context.Context, arguments ...string) (string, error) {
	return c.run(ctx, "", "kubectl", arguments...)
}

// Apply runs kubectl apply on a manifest, as a person would.
func (c *Cluster) Apply(ctx context.Context, manifest string) (string, error) {
	return c.run(ctx, manifest, "kubectl", "apply", "--filename", "-")
}

// Tool runs one of the lab's tools and returns its standard output.
func (c *Cluster) Tool(ctx context.Context, tool string, arguments ...string) (string, error) {
	return c.run(ctx, "", tool, arguments...)
}

func (c *Cluster) run(ctx context.Context, input, tool string, arguments ...string) (string, error) {
	command := c.Lab.Command(ctx, tool, arguments...)
	var stdout, stderr strings.Builder
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(input), &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), &ToolError{Tool: tool, Arguments: arguments, Stderr: strings.TrimSpace(stderr.String()), Err: err}
	}
	return stdout.String(), nil
}

// ToolError is a run of a tool that failed.
type ToolError struct {
	Tool      string
	Arguments []string
	Stderr    string
	Err       error
}

func (e *ToolError) Error() string {
	return fmt.Sprintf("%s %s: %v: %s", e.Tool, strings.Join(e.Arguments, " "), e.Err, e.Stderr)
}

func (e *ToolError) Unwrap() error { return e.Err }
