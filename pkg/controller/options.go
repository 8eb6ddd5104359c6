package controller

import (
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/csi-dm/csi-dm/pkg/serverflags"
)

// Options are the controller's flags.
type Options struct {
	serverflags.Options
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
}

// DefaultOptions are what the flags default to.
func DefaultOptions() Options {
	return Options{
		Options: serverflags.Options{
			Endpoint:     "unix:///csi/csi.sock",
			HTTPEndpoint: ":9808",
			APIQPS:       500,
			APIBurst:     1000,
		},
		AgentSelector:  "app.kubernetes.io/name=csi-dm,app.kubernetes.io/component=node",
		LeaderElection: true,
		CreateTimeout:  45 * time.Second,
		NodeGonePeriod: 5 * time.Minute,
	}
}

// AddFlags adds the flags; their defaults are what o holds.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	o.Options.AddFlags(flags)
	flags.StringVar(&o.Namespace, "namespace", o.Namespace, "the controller's namespace (default: $POD_NAMESPACE)")
	flags.StringVar(&o.AgentSelector, "agent-selector", o.AgentSelector, "label selector of the node agents' pods in the namespace")
	flags.BoolVar(&o.LeaderElection, "leader-election", o.LeaderElection, "elect a leader among the replicas")
	flags.DurationVar(&o.CreateTimeout, "create-timeout", o.CreateTimeout, "how long CreateVolume waits for a node; csi-provisioner's --timeout must be longer")
	flags.DurationVar(&o.NodeGonePeriod, "node-gone-period", o.NodeGonePeriod, "how long a deleted volume of a node that does not exist is kept for the node to come back")
	flags.StringVar(&o.PoolsFile, "pools-file", o.PoolsFile, "YAML list of ThinPools (name, spec) to be applied at the start")
}

// Validate names every option that is not acceptable.
func (o *Options) Validate() error {
	var refusals serverflags.Refusals
	o.Check(&refusals)
	if len(validation.IsDNS1123Label(o.Namespace)) > 0 {
		refusals.Add("namespace", o.Namespace, "the name of the controller's namespace (default: the environment variable POD_NAMESPACE)")
	}
	if selector, err := labels.Parse(o.AgentSelector); err != nil || selector.Empty() {
		refusals.Add("agent-selector", o.AgentSelector, "a label selector such as app.kubernetes.io/component=node")
	}
	if o.CreateTimeout < time.Second || o.CreateTimeout > time.Hour {
		refusals.Add("create-timeout", o.CreateTimeout, "a duration from 1s to 1h")
	}
	if o.NodeGonePeriod < 0 || o.NodeGonePeriod > 30*24*time.Hour {
		refusals.Add("node-gone-period", o.NodeGonePeriod, "a duration from 0s to 720h")
	}
	return refusals.Err()
}
