// Command lab brings up, looks at and takes down the lab of package lab.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/csi-dm/csi-dm/test/lab"
	"github.com/csi-dm/csi-dm/test/lab/cluster"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := command().ExecuteContext(ctx)
	var status exitStatus
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "lab:", err)
	return 1
}

// exitStatus is the exit status of a command that lab ran on somebody's behalf and that has said itself what was wrong.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "lab",
		Short:         "A Kubernetes cluster whose nodes have a real device mapper",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		buildCommand(), upCommand(), downCommand(), statusCommand(),
		kubeconfigCommand(), kubectlCommand(), shellCommand(),
		execCommand(), powerCutCommand(), bootCommand(), addNodeCommand(), loadImageCommand(), imagesCommand(),
		initCommand(), superviseCommand(),
	)
	return root
}

func upCommand() *cobra.Command {
	return &cobra.Command{
		Use: "up", Short: "Build what is missing and bring up a lab with node-a and node-b", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lab.Up(cmd.Context(), lab.Options{Progress: os.Stderr})
			if err != nil {
				return err
			}
			fmt.Printf("export KUBECONFIG=%s\n", l.Kubeconfig())
			return nil
		},
	}
}

func buildCommand() *cobra.Command {
	return &cobra.Command{
		Use: "build", Short: "Build what a lab needs and is not in the cache", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return lab.Build(cmd.Context(), lab.Options{Progress: os.Stderr})
		},
	}
}

func downCommand() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "End the lab and remove its files, the nodes' disks included", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return lab.Down(cmd.Context()) },
	}
}

// initCommand and superviseCommand are how the lab's own processes are started.
func initCommand() *cobra.Command {
	return &cobra.Command{
		Use: "init CONFIG", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			status, err := cluster.Init(args[0])
			if err == nil && status != 0 {
				err = exitStatus(status)
			}
			return err
		},
	}
}

func superviseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "supervise CONFIG", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return cluster.Supervise(cmd.Context(), args[0]) },
	}
}
