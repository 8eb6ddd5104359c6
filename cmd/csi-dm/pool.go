package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/csi-dm/csi-dm/pkg/node/admin"
)

func newPoolCommand() *cobra.Command {
	command := &cobra.Command{Use: "pool", Short: "Look at the pools of this node, check, repair and grow them"}
	command.AddCommand(newPoolListCommand(), newPoolInfoCommand(), newPoolCheckCommand(), newPoolRepairCommand(), newPoolGrowCommand(), newPoolDropBaseCommand())
	return command
}

func newPoolInfoCommand() *cobra.Command {
	var question question
	command := &cobra.Command{
		Use:   "info [POOL]",
		Short: "Show the pools of this node, or one of them, as docker info showed its devicemapper pool",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			if err := question.validate(); err != nil {
				return err
			}
			pools, err := question.client().Pools(command.Context())
			if err != nil {
				return err
			}
			if len(arguments) == 1 {
				if pools, err = only(pools, arguments[0]); err != nil {
					return err
				}
			}
			return question.print(command.OutOrStdout(), pools, func(w io.Writer) error { return admin.WritePools(w, pools) })
		},
	}
	question.addFlags(command)
	return command
}

func only(pools []admin.PoolInfo, name string) ([]admin.PoolInfo, error) {
	names := make([]string, 0, len(pools))
	for _, pool := range pools {
		if pool.Name == name {
			return []admin.PoolInfo{pool}, nil
		}
		names = append(names, pool.Name)
	}
	return nil, fmt.Errorf("no pool %q on this node: there are [%s]", name, strings.Join(names, " "))
}
