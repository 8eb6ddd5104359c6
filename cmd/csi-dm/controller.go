package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/csi-dm/csi-dm/pkg/controller"
)

func newControllerCommand() *cobra.Command {
	options := controller.DefaultOptions()
	options.Namespace = os.Getenv("POD_NAMESPACE")
	command := &cobra.Command{
		Use:   "controller",
		Short: "Run the controller: the CSI Controller service, storage capacity, the lifecycle of pools",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := options.Validate(); err != nil {
				return err
			}
			ctx := command.Context()
			ctrl.SetLogger(klog.FromContext(ctx))
			config, err := ctrl.GetConfig()
			if err != nil {
				return fmt.Errorf("find the API server: %w", err)
			}
			c, err := controller.New(ctx, config, options, metrics.Registry)
			if err != nil {
				return err
			}
			return c.Run(ctx)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Endpoint, "endpoint", options.Endpoint, "where the CSI service is served: unix:// and an absolute path")
	flags.StringVar(&options.HTTPEndpoint, "http-endpoint", options.HTTPEndpoint, "TCP address for /healthz, /readyz and /metrics; empty for none")
	flags.StringVar(&options.Namespace, "namespace", options.Namespace, "the controller's namespace (default: $POD_NAMESPACE)")
	flags.StringVar(&options.AgentSelector, "agent-selector", options.AgentSelector, "label selector of the node agents' pods in the namespace")
	flags.BoolVar(&options.LeaderElection, "leader-election", options.LeaderElection, "elect a leader among the replicas")
	flags.DurationVar(&options.CreateTimeout, "create-timeout", options.CreateTimeout, "how long CreateVolume waits for a node; csi-provisioner's --timeout must be longer")
	flags.DurationVar(&options.NodeGonePeriod, "node-gone-period", options.NodeGonePeriod, "how long a deleted volume of a node that does not exist is kept for the node to come back")
	flags.StringVar(&options.PoolsFile, "pools-file", options.PoolsFile, "YAML list of ThinPools (name, spec) to be applied at the start")
	flags.Float32Var(&options.APIQPS, "kube-api-qps", options.APIQPS, "requests to the API server per second")
	flags.IntVar(&options.APIBurst, "kube-api-burst", options.APIBurst, "requests to the API server in a burst")
	return command
}
