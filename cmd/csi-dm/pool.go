package main

import (
	"context"
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
			pools, err := question.pools(command.Context(), arguments)
			if err != nil {
				return err
			}
			return question.print(command.OutOrStdout(), pools, func(w io.Writer) error { return admin.WritePools(w, pools) })
		},
	}
	question.addFlags(command)
	return command
}

// pools asks for all pools of the node, or for the one that is named.
func (q *question) pools(ctx context.Context, names []string) ([]admin.PoolInfo, error) {
	if len(names) == 0 {
		return q.client().Pools(ctx)
	}
	pool, err := q.pool(ctx, names[0])
	return []admin.PoolInfo{pool}, err
}

// pool asks for a pool by its name. Where there is none it says which there are.
func (q *question) pool(ctx context.Context, name string) (admin.PoolInfo, error) {
	pools, err := q.client().Pools(ctx)
	if err != nil {
		return admin.PoolInfo{}, err
	}
	names := make([]string, 0, len(pools))
	for _, pool := range pools {
		if pool.Name == name {
			return pool, nil
		}
		names = append(names, pool.Name)
	}
	return admin.PoolInfo{}, fmt.Errorf("no pool %q on this node: there are [%s]", name, strings.Join(names, " "))
}
