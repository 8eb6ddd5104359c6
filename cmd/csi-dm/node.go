package main

import (
	"github.com/spf13/cobra"

	"github.com/csi-dm/csi-dm/pkg/node"
)

func newNodeCommand() *cobra.Command {
	options := node.DefaultOptions()
	command := &cobra.Command{
		Use:   "node",
		Short: "Run the node plugin: pools, volumes, the CSI Node service",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return node.Run(command.Context(), options)
		},
	}
	options.AddFlags(command.Flags())
	return command
}
