package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/csi-dm/csi-dm/pkg/node/admin"
)

func newVolumeCommand() *cobra.Command {
	command := &cobra.Command{Use: "volume", Short: "Look at the volumes of this node"}
	command.AddCommand(newVolumeListCommand())
	return command
}

func newVolumeListCommand() *cobra.Command {
	var question question
	command := &cobra.Command{
		Use:   "list",
		Short: "List the volumes that the registries of this node's pools hold",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := question.validate(); err != nil {
				return err
			}
			volumes, err := question.client().Volumes(command.Context())
			if err != nil {
				return err
			}
			return question.print(command.OutOrStdout(), volumes, func(w io.Writer) error { return admin.WriteVolumes(w, volumes) })
		},
	}
	question.addFlags(command)
	return command
}
