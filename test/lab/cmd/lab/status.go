package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/csi-dm/csi-dm/test/lab"
	"github.com/csi-dm/csi-dm/test/lab/control"
)

func statusCommand() *cobra.Command {
	var output string
	command := &cobra.Command{
		Use: "status", Short: "Show components, nodes and where their logs are", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lab.Attach(cmd.Context())
			if errors.Is(err, lab.ErrNotRunning) {
				fmt.Println(err)
				return exitStatus(3) // as "systemctl status" has it for a unit that is not running
			}
			if err != nil {
				return err
			}
			status, err := l.Status(cmd.Context())
			if err != nil {
				return err
			}
			switch output {
			case "json":
				return json.NewEncoder(os.Stdout).Encode(status)
			case "":
				return print(os.Stdout, status)
			default:
				return fmt.Errorf("--output %q: want json or nothing", output)
			}
		},
	}
	command.Flags().StringVarP(&output, "output", "o", "", "json for scripts")
	return command
}

func print(to io.Writer, status control.Status) error {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "up for\t%s\n", time.Since(status.Since).Round(time.Second))
	fmt.Fprintf(table, "first process\t%d\n", status.Supervisor)
	fmt.Fprintf(table, "kubeconfig\t%s\n\n", status.Kubeconfig)
	fmt.Fprintln(table, "COMPONENT\tSTATE\tMEMORY\tLOG")
	for _, c := range status.Components {
		fmt.Fprintf(table, "%s\t%s\t%d MiB\t%s\n", c.Name, choose(c.Running, "running", "ended"), c.ResidentBytes>>20, c.Log)
	}
	fmt.Fprintln(table, "\nNODE\tPOWER\tKUBERNETES\tADDRESS\tMEMORY\tPOOL DISK\tLOGS")
	for _, n := range status.Nodes {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d MiB\t%d MiB\t%s\n", n.Name, choose(n.Running, "on", "off"),
			choose(n.Ready, "Ready", "not ready"), n.Address, n.MemoryBytes>>20, n.PoolDiskBytes>>20, n.Logs)
	}
	return table.Flush()
}

func choose(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}
