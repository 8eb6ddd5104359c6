package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/csi-dm/csi-dm/pkg/node/admin"
)

func newVolumeCommand() *cobra.Command {
	command := &cobra.Command{Use: "volume", Short: "Look at the volumes of this node"}
	command.AddCommand(newVolumeListCommand(), newVolumeUsageCommand())
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

func newVolumeUsageCommand() *cobra.Command {
	var question question
	command := &cobra.Command{
		Use:   "usage [VOLUME]",
		Short: "Show what the volumes of this node, or one of them, hold of their pools, and what deleting them would give back",
		Long: "MAPPED is what a volume has ever written and not discarded since, SHARED what of that a base or another volume holds, too,\n" +
			"EXCLUSIVE what deleting the volume would give back. All mappings of the pools are read for it.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			if err := question.validate(); err != nil {
				return err
			}
			usages, err := question.client().Usage(command.Context())
			if err != nil {
				return err
			}
			if len(arguments) == 1 {
				if usages, err = admin.UsageOf(usages, arguments[0]); err != nil {
					return err
				}
			}
			return question.print(command.OutOrStdout(), usages, func(w io.Writer) error { return admin.WriteUsage(w, usages) })
		},
	}
	question.addFlags(command)
	return command
}
