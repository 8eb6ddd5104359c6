package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/csi-dm/csi-dm/pkg/node/admin"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

func newPoolCheckCommand() *cobra.Command {
	var target target
	command := &cobra.Command{
		Use:   "check [POOL]",
		Short: "Check the metadata and the registry of the pools of this node, or of one of them",
		Long: "Runs thin_check on the pool's metadata, checks the registry and its file system, and compares the two. A pool that is open is\n" +
			"checked while it is used. Nothing is changed. The exit status is 3 if something was found.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			if err := target.question.validate(); err != nil {
				return err
			}
			reports, err := target.check(command.Context(), optional(arguments))
			if err != nil {
				return err
			}
			if err := target.question.print(command.OutOrStdout(), reports, func(w io.Writer) error { return admin.WriteChecks(w, reports) }); err != nil {
				return err
			}
			for _, report := range reports {
				if !report.Sound() {
					return marked{errors.New("not every pool is sound"), errDamaged}
				}
			}
			return nil
		},
	}
	target.addFlags(command)
	return command
}

func optional(arguments []string) string {
	if len(arguments) == 0 {
		return ""
	}
	return arguments[0]
}

// check checks a pool, or all.
func (t *target) check(ctx context.Context, name string) ([]thinpool.CheckReport, error) {
	offline, err := t.offline(ctx)
	if err != nil {
		return nil, err
	}
	if offline {
		return t.checkOffline(ctx, name)
	}
	names := []string{name}
	if name == "" {
		pools, err := t.question.client().Pools(ctx)
		if err != nil {
			return nil, err
		}
		names = names[:0]
		for _, pool := range pools {
			names = append(names, pool.Name)
		}
	}
	reports := []thinpool.CheckReport{}
	for _, name := range names {
		report, err := t.question.client().CheckPool(ctx, name)
		if err != nil {
			return nil, err
		}
		reports = append(reports, report)
	}
	return reports, nil
}

func (t *target) checkOffline(ctx context.Context, name string) ([]thinpool.CheckReport, error) {
	configs, err := t.find(ctx, name)
	if err != nil {
		return nil, err
	}
	var reports []thinpool.CheckReport
	return reports, engine(func(e admin.KernelEngine) error {
		for _, config := range configs {
			report, err := e.Check(ctx, config)
			if err != nil {
				return err
			}
			reports = append(reports, report)
		}
		return nil
	})
}
