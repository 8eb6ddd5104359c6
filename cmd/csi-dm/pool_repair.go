package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/csi-dm/csi-dm/pkg/node/admin"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

func newPoolRepairCommand() *cobra.Command {
	var target target
	var agreement agreement
	command := &cobra.Command{
		Use:   "repair POOL",
		Short: "Check a pool of this node and put right what is wrong",
		Long: "Checks the pool, says what is to be done, asks, and does it: the kernel's demand for a check is taken back where the metadata\n" +
			"is sound; damaged metadata is written anew into the pool's spare area, which then takes its place; the registry's file system\n" +
			"is repaired by e2fsck. No volume of the pool may be in use. A pool of the agent's is closed for it and opened again.\n" +
			"The exit status is 3 if volumes were lost or something is left.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			if err := target.question.validate(); err != nil {
				return err
			}
			if err := agreement.possible(command.InOrStdin()); err != nil {
				return err
			}
			report, err := target.repair(command, &agreement, arguments[0])
			if report.Before.Pool != "" {
				err = errors.Join(target.question.print(command.OutOrStdout(), report, func(w io.Writer) error { return admin.WriteRepair(w, report) }), err)
			}
			if err == nil && (!report.After.Sound() || len(report.Damaged) > 0 || report.Reconstructed) {
				err = marked{errors.New("the pool is repaired, and not all is as it was"), errDamaged}
			}
			return err
		},
	}
	target.addFlags(command)
	agreement.addFlags(command)
	return command
}

func (t *target) repair(command *cobra.Command, agreement *agreement, name string) (report thinpool.RepairReport, err error) {
	ctx := command.Context()
	found, err := t.check(ctx, name)
	if err != nil {
		return report, err
	}
	offline, err := t.offline(ctx)
	if err != nil {
		return report, err
	}
	// What is asked goes beside the result, which a script reads.
	if err := agreement.ask(command.InOrStdin(), command.ErrOrStderr(), intention(found[0], offline)); err != nil {
		return report, err
	}
	actions := found[0].Actions()
	if found[0].Active && found[0].Mode != thinpool.ModeReadWrite {
		// What an open pool cannot show may show when it is closed: the same question has been answered for both.
		actions = []thinpool.RepairAction{thinpool.ActionFileSystem, thinpool.ActionNeedsCheck, thinpool.ActionMetadata}
	}
	if !offline {
		return t.question.client().RepairPool(ctx, name, actions)
	}
	return t.repairOffline(ctx, name, actions)
}

func (t *target) repairOffline(ctx context.Context, name string, actions []thinpool.RepairAction) (report thinpool.RepairReport, err error) {
	configs, err := t.find(ctx, name)
	if err != nil {
		return report, err
	}
	err = engine(func(e admin.KernelEngine) (err error) {
		report, err = e.Repair(ctx, configs[0], actions)
		return err
	})
	return report, err
}

var actionTexts = map[thinpool.RepairAction]string{
	thinpool.ActionFileSystem: "repair the file system of the registry with e2fsck -y",
	thinpool.ActionNeedsCheck: "take back the kernel's demand for a check: the metadata is sound",
	thinpool.ActionMetadata:   "write what can be read of the metadata into the spare area and use that from then on; what was there before is kept until the next repair. Bases are made anew",
}

// intention says what a repair will do.
func intention(found thinpool.CheckReport, offline bool) string {
	var lines []string
	for _, action := range found.Actions() {
		lines = append(lines, actionTexts[action])
	}
	if found.Active && found.Mode != thinpool.ModeReadWrite {
		lines = append(lines, fmt.Sprintf("check it once more when it is closed, since the kernel holds it in mode %s, and do of these three what is needed: %s",
			found.Mode, strings.Join([]string{actionTexts[thinpool.ActionFileSystem], actionTexts[thinpool.ActionNeedsCheck], actionTexts[thinpool.ActionMetadata]}, "; ")))
	}
	switch {
	case offline:
		lines = append([]string{"take the pool's kernel devices down; no volume may be in use"}, lines...)
	default:
		lines = append([]string{"have the agent close the pool; no volume may be in use"}, append(lines, "have the agent open it again")...)
	}
	text := fmt.Sprintf("Pool %q (%s) will be repaired:", found.Pool, found.PoolID)
	for i, line := range lines {
		text += fmt.Sprintf("\n  %d. %s", i+1, line)
	}
	if len(found.Actions()) == 0 {
		text += "\nThe check has found nothing to repair."
	}
	return text
}
