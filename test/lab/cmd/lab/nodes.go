package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/csi-dm/csi-dm/test/lab"
	"github.com/csi-dm/csi-dm/test/lab/control"
)

// onNode attaches to the lab and finds the node that the first argument names.
func onNode(cmd *cobra.Command, name string) (*lab.Node, error) {
	l, err := lab.Attach(cmd.Context())
	if err != nil {
		return nil, err
	}
	return l.Node(cmd.Context(), name)
}

func execCommand() *cobra.Command {
	var input bool
	command := &cobra.Command{
		Use: "exec NODE [--] COMMAND [ARGUMENT…]", Short: "Run a command on a node as root, outside of any container", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			node, err := onNode(cmd, args[0])
			if err != nil {
				return err
			}
			argv := args[1:]
			if argv[0] == "--" && len(argv) > 1 {
				argv = argv[1:]
			}
			request := control.ExecRequest{Argv: argv}
			if input {
				if request.Stdin, err = io.ReadAll(os.Stdin); err != nil {
					return err
				}
			}
			result, err := node.Run(cmd.Context(), request)
			if err != nil {
				return err
			}
			_, _ = os.Stdout.Write(result.Stdout)
			_, _ = os.Stderr.Write(result.Stderr)
			if result.ExitStatus != 0 {
				return exitStatus(result.ExitStatus)
			}
			return nil
		},
	}
	command.Flags().BoolVarP(&input, "stdin", "i", false, "pass standard input on, read to its end first")
	command.Flags().SetInterspersed(false)
	return command
}

func powerCutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "power-cut NODE", Short: "Pull the plug of a node", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			node, err := onNode(cmd, args[0])
			if err != nil {
				return err
			}
			return node.PowerCut(cmd.Context())
		},
	}
}

func bootCommand() *cobra.Command {
	return &cobra.Command{
		Use: "boot NODE", Short: "Boot a node that is off, and wait until it is Ready", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			node, err := onNode(cmd, args[0])
			if err != nil {
				return err
			}
			start := time.Now()
			if err := node.Boot(cmd.Context()); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%s Ready after %s\n", args[0], time.Since(start).Round(100*time.Millisecond))
			return nil
		},
	}
}

func addNodeCommand() *cobra.Command {
	var disk, memory string
	command := &cobra.Command{
		Use: "add-node [NAME]", Short: "Add a node, and wait until it is Ready", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var options control.NodeOptions
			if len(args) == 1 {
				options.Name = args[0]
			}
			for _, size := range []struct {
				flag, value string
				bytes       *int64
			}{{"disk", disk, &options.PoolDiskBytes}, {"memory", memory, &options.MemoryBytes}} {
				quantity, err := resource.ParseQuantity(size.value)
				if err != nil {
					return fmt.Errorf("--%s %q: want a size in bytes such as 4Gi: %w", size.flag, size.value, err)
				}
				*size.bytes = quantity.Value()
			}
			l, err := lab.Attach(cmd.Context())
			if err != nil {
				return err
			}
			start := time.Now()
			node, err := l.AddNode(cmd.Context(), options)
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%s Ready after %s\n", node.Name, time.Since(start).Round(100*time.Millisecond))
			return nil
		},
	}
	command.Flags().StringVar(&disk, "disk", "4Gi", "size of the raw disk")
	command.Flags().StringVar(&memory, "memory", "1Gi", "memory of the node")
	return command
}
