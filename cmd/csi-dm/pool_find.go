package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/node/admin"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// target is a pool that a command is about: the agent's, or one that is found by the labels of devices.
type target struct {
	question question
	devices  []string
}

func (t *target) addFlags(command *cobra.Command) {
	t.question.addFlags(command)
	command.Flags().StringArrayVar(&t.devices, "device", nil,
		"a device of the pool, or the file of a loop pool; once for each. The agent is not asked then. Without an agent and\nwithout this all block devices are looked at")
}

// offline tells whether the agent is left out.
func (t *target) offline(ctx context.Context) (bool, error) {
	if len(t.devices) > 0 {
		return true, nil
	}
	_, err := t.question.client().Pools(ctx)
	if errors.Is(err, admin.ErrNotRunning) {
		return true, nil
	}
	return false, err
}

// find gives the configurations of the pools that labels tell of: of one, if it is named.
func (t *target) find(ctx context.Context, name string) ([]thinpool.Config, error) {
	pools, err := thinpool.Find(ctx, t.devices...)
	if err != nil {
		return nil, err
	}
	var configs []thinpool.Config
	var names []string
	for _, pool := range pools {
		names = append(names, pool.Name)
		if name != "" && pool.Name != name {
			continue
		}
		config, err := pool.Config()
		if err != nil {
			return nil, err
		}
		configs = append(configs, config)
	}
	switch {
	case len(configs) == 0:
		return nil, fmt.Errorf("no pool %q was found; there are %v", name, names)
	case name != "" && len(configs) > 1:
		return nil, fmt.Errorf("there are %d pools of the name %q: say which by --device (csi-dm pool list shows them)", len(configs), name)
	}
	return configs, nil
}

// engine works on the kernel's pools for the time of do.
func engine(do func(e admin.KernelEngine) error) error {
	dm, err := devicemapper.Open()
	if err != nil {
		return err
	}
	return errors.Join(do(admin.KernelEngine{DM: dm}), dm.Close())
}

func newPoolListCommand() *cobra.Command {
	var output output
	var devices []string
	command := &cobra.Command{
		Use:   "list",
		Short: "List the pools that the labels of this node's block devices tell of",
		Long: "Reads the label of every block device, or of those that are named, and lists the pools that they belong to. It needs no\n" +
			"agent and no Kubernetes.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := output.validate(); err != nil {
				return err
			}
			pools, err := thinpool.Find(command.Context(), devices...)
			if err != nil {
				return err
			}
			return output.print(command.OutOrStdout(), pools, func(w io.Writer) error { return admin.WriteFound(w, pools) })
		},
	}
	output.addFlags(command)
	command.Flags().StringArrayVar(&devices, "device", nil, "a device to look at, or the file of a loop pool; once for each")
	return command
}
