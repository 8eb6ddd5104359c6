package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/csi-dm/csi-dm/test/lab"
)

func kubeconfigCommand() *cobra.Command {
	return &cobra.Command{
		Use: "kubeconfig", Short: "Print the path of the kubeconfig file", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lab.Attach(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Println(l.Kubeconfig())
			return nil
		},
	}
}

func kubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use: "kubectl …", Short: "Run kubectl against the lab", DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Attach(cmd.Context())
			if err != nil {
				return err
			}
			return interactive(l.Command(cmd.Context(), "kubectl", args...))
		},
	}
}

func shellCommand() *cobra.Command {
	return &cobra.Command{
		Use: "shell [-- COMMAND [ARGUMENT…]]", Short: "Run a shell inside the lab's network, mount and PID namespaces",
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Attach(cmd.Context())
			if err != nil {
				return err
			}
			status, err := l.Status(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				args = []string{"bash"}
			}
			enter := append([]string{"--target", strconv.Itoa(status.Supervisor), "--net", "--mount", "--pid", "--"}, args...)
			shell := exec.CommandContext(cmd.Context(), "nsenter", enter...)
			// Inside, the host's loopback is out of reach.
			shell.Env = append(l.Environment(), "KUBECONFIG="+l.Paths().InsideKubeconfig())
			return interactive(shell)
		},
	}
}

func interactive(command *exec.Cmd) error {
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	return command.Run()
}
