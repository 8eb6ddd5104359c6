package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/csi-dm/csi-dm/pkg/node/admin"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

func newPoolDropBaseCommand() *cobra.Command {
	var question question
	var agreement agreement
	command := &cobra.Command{
		Use:   "drop-base POOL BASE",
		Short: "Delete a base of a pool of this node, so that the next volume of its kind gets a new one",
		Long: "Deletes the formatted device from which a pool makes the volumes of one file system, size and mkfs options. BASE is its thin id,\n" +
			"which the error about a damaged base names, and pool info -o json lists. The next volume of its kind is preceded by mkfs.\n" +
			"Volumes that came from the base keep what they have, and whatever was wrong with it.",
		Args: cobra.ExactArgs(2),
		RunE: func(command *cobra.Command, arguments []string) error {
			if err := question.validate(); err != nil {
				return err
			}
			thin, err := strconv.ParseUint(arguments[1], 10, 24)
			if err != nil {
				return marked{fmt.Errorf("BASE: %q is not allowed: a thin id, from 0 to 16777215", arguments[1]), errUsage}
			}
			if err := agreement.possible(command.InOrStdin()); err != nil {
				return err
			}
			pool, err := question.pool(command.Context(), arguments[0])
			if err != nil {
				return err
			}
			base, err := baseOn(pool, uint32(thin))
			if err != nil {
				return err
			}
			what := fmt.Sprintf("Base %d of pool %q will be deleted. The next volume of its kind (%s) waits for mkfs.\nVolumes that came from it keep what they have, and whatever was wrong with the base.",
				base.ThinID, pool.Name, kindOf(base))
			if err := agreement.ask(command.InOrStdin(), command.ErrOrStderr(), what); err != nil {
				return err
			}
			if err := question.client().DropBase(command.Context(), pool.Name, base.ThinID); err != nil {
				return err
			}
			return question.print(command.OutOrStdout(), base, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "Deleted base %d (%s) of pool %q.\n", base.ThinID, kindOf(base), pool.Name)
				return err
			})
		},
	}
	question.addFlags(command)
	agreement.addFlags(command)
	return command
}

// baseOn finds the base on a thin id. Where there is none it says which there are.
func baseOn(pool admin.PoolInfo, thin uint32) (admin.Base, error) {
	if pool.NotOpen != "" {
		return admin.Base{}, fmt.Errorf("pool %q is not open: %s", pool.Name, pool.NotOpen)
	}
	var there []string
	for _, base := range pool.Bases {
		if base.ThinID == thin {
			return base, nil
		}
		there = append(there, fmt.Sprintf("%d (%s)", base.ThinID, kindOf(base)))
	}
	return admin.Base{}, fmt.Errorf("%w: pool %q has none with the thin id %d: there are [%s]", thinpool.ErrBaseNotFound, pool.Name, thin, strings.Join(there, ", "))
}

// kindOf says which volumes begin as a base.
func kindOf(base admin.Base) string {
	return strings.Join(append([]string{base.FSType, admin.Size(base.Size)}, base.MkfsOptions...), " ")
}
