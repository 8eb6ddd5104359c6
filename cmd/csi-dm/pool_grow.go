package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/csi-dm/csi-dm/pkg/node/admin"
)

func newPoolGrowCommand() *cobra.Command {
	var question question
	var agreement agreement
	command := &cobra.Command{
		Use:   "grow POOL",
		Short: "Take into use what the devices of a pool of this node have grown by",
		Long: "Looks at the pool's devices once more and takes into use what they have grown by, for data and for metadata. The agent does\n" +
			"so by itself when the ThinPool changes. A pool cannot be made smaller again.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			if err := question.validate(); err != nil {
				return err
			}
			if err := agreement.possible(command.InOrStdin()); err != nil {
				return err
			}
			pool, err := question.pool(command.Context(), arguments[0])
			if err != nil {
				return err
			}
			what := fmt.Sprintf("Pool %q has %s for data and %s for metadata. Its devices (%v) will be looked at once more, and what they have grown by\nwill be used. A pool cannot be made smaller again.",
				pool.Name, admin.Size(pool.Data.Total), admin.Size(pool.Metadata.Total), pool.DataFiles)
			if err := agreement.ask(command.InOrStdin(), command.ErrOrStderr(), what); err != nil {
				return err
			}
			growth, err := question.client().GrowPool(command.Context(), arguments[0])
			if err != nil {
				return err
			}
			return question.print(command.OutOrStdout(), growth, func(w io.Writer) error { return admin.WriteGrowth(w, growth) })
		},
	}
	question.addFlags(command)
	agreement.addFlags(command)
	return command
}
