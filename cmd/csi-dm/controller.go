package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
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
			config, err := clientcmd.BuildConfigFromFlags("", options.Kubeconfig)
			if err != nil {
				return fmt.Errorf("find the API server: %w", err)
			}
			c, err := controller.New(command.Context(), config, options, metrics.Registry)
			if err != nil {
				return err
			}
			return c.Run(command.Context())
		},
	}
	options.AddFlags(command.Flags())
	return command
}
