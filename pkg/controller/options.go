package controller

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/csi-dm/csi-dm/pkg/grpcserver"
)

// Options are the controller's flags.
type Options struct {
	// Endpoint is where the CSI service is served: unix:// and an absolute path.
	Endpoint string
	// HTTPEndpoint is the TCP address for health and metrics, or empty for none.
	HTTPEndpoint string
	// Namespace is the controller's own: capacity objects, leases and the nodes' agents are there.
	Namespace string
	// AgentSelector selects the agents' pods in the namespace, by label.
	AgentSelector string
	// LeaderElection lets several replicas run.
	LeaderElection bool
	// CreateTimeout is how long CreateVolume waits for a node. csi-provisioner's --timeout must be longer.
	CreateTimeout time.Duration
	// NodeGonePeriod is how long a deleted volume of a node that does not exist is kept for the node to come back.
	NodeGonePeriod time.Duration
	// PoolsFile holds ThinPools to be applied at the start, or is empty.
	PoolsFile string
	// Kubeconfig is empty inside a cluster.
	Kubeconfig string
	// APIQPS and APIBurst bound the requests to the API server per second.
	APIQPS   float32
	APIBurst int
}

// DefaultOptions are what the flags default to.
func DefaultOptions() Options {
	return Options{
		Endpoint:       "unix:///csi/csi.sock",
		HTTPEndpoint:   ":9808",
		AgentSelector:  "app.kubernetes.io/name=csi-dm,app.kubernetes.io/component=node",
		LeaderElection: true,
		CreateTimeout:  45 * time.Second,
		NodeGonePeriod: 5 * time.Minute,
		APIQPS:         500,
		APIBurst:       1000,
	}
}

// AddFlags adds the flags; their defaults are what o holds.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Endpoint, "endpoint", o.Endpoint, "where the CSI service is served: unix:// and an absolute path")
	flags.StringVar(&o.HTTPEndpoint, "http-endpoint", o.HTTPEndpoint, "TCP address for /healthz, /readyz and /metrics; empty for none")
	flags.StringVar(&o.Namespace, "namespace", o.Namespace, "the controller's namespace (default: $POD_NAMESPACE)")
	flags.StringVar(&o.AgentSelector, "agent-selector", o.AgentSelector, "label selector of the node agents' pods in the namespace")
	flags.BoolVar(&o.LeaderElection, "leader-election", o.LeaderElection, "elect a leader among the replicas")
	flags.DurationVar(&o.CreateTimeout, "create-timeout", o.CreateTimeout, "how long CreateVolume waits for a node; csi-provisioner's --timeout must be longer")
	flags.DurationVar(&o.NodeGonePeriod, "node-gone-period", o.NodeGonePeriod, "how long a deleted volume of a node that does not exist is kept for the node to come back")
	flags.StringVar(&o.PoolsFile, "pools-file", o.PoolsFile, "YAML list of ThinPools (name, spec) to be applied at the start")
	flags.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "how to reach the API server; empty inside a cluster")
	flags.Float32Var(&o.APIQPS, "kube-api-qps", o.APIQPS, "requests to the API server per second")
	flags.IntVar(&o.APIBurst, "kube-api-burst", o.APIBurst, "requests to the API server in a burst")
}

// Validate names every option that is not acceptable.
func (o *Options) Validate() error {
	var errs []error
	refuse := func(flag string, value any, allowed string) {
		errs = append(errs, fmt.Errorf("--%s: %q is not allowed: %s", flag, fmt.Sprint(value), allowed))
	}
	if _, err := grpcserver.ParseEndpoint(o.Endpoint); err != nil {
		errs = append(errs, fmt.Errorf("--endpoint: %w", err))
	}
	if o.HTTPEndpoint != "" {
		if _, _, err := net.SplitHostPort(o.HTTPEndpoint); err != nil {
			refuse("http-endpoint", o.HTTPEndpoint, "a TCP address such as :9808, or nothing")
		}
	}
	if len(validation.IsDNS1123Label(o.Namespace)) > 0 {
		refuse("namespace", o.Namespace, "the name of the controller's namespace (default: the environment variable POD_NAMESPACE)")
	}
	if selector, err := labels.Parse(o.AgentSelector); err != nil || selector.Empty() {
		refuse("agent-selector", o.AgentSelector, "a label selector such as app.kubernetes.io/component=node")
	}
	if o.CreateTimeout < time.Second || o.CreateTimeout > time.Hour {
		refuse("create-timeout", o.CreateTimeout, "a duration from 1s to 1h")
	}
	if o.NodeGonePeriod < 0 || o.NodeGonePeriod > 30*24*time.Hour {
		refuse("node-gone-period", o.NodeGonePeriod, "a duration from 0s to 720h")
	}
	if !(o.APIQPS > 0) {
		refuse("kube-api-qps", o.APIQPS, "a number greater than 0")
	}
	if o.APIBurst < 1 {
		refuse("kube-api-burst", o.APIBurst, "a number greater than 0")
	}
	return errors.Join(errs...)
}
