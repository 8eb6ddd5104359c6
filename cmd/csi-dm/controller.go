package main

import (
	"os"

	"github.com/spf13/cobra"
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
			config, err := options.APIConfig()
			if err != nil {
				return err
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
