package main

import (
	"github.com/spf13/cobra"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // --logging-format=json
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/csi-dm/csi-dm/pkg/version"
)

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "csi-dm",
		Short:         "Node-local thin volumes for Kubernetes",
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(withLogging(newNodeCommand()), withLogging(newControllerCommand()), newPoolCommand(), newVolumeCommand(), newVersionCommand())
	markUsage(root)
	return root
}

// markUsage has errors of the command line end in their own exit status.
func markUsage(command *cobra.Command) {
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return marked{err, errUsage} })
	if check := command.Args; check != nil {
		command.Args = func(command *cobra.Command, arguments []string) error {
			if err := check(command, arguments); err != nil {
				return marked{err, errUsage}
			}
			return nil
		}
	}
	for _, below := range command.Commands() {
		markUsage(below)
	}
}

// withLogging gives a command the flags of Kubernetes' components for logging, and sets logging up before it runs.
func withLogging(command *cobra.Command) *cobra.Command {
	configuration := logsapi.NewLoggingConfiguration()
	logsapi.AddFlags(configuration, command.Flags())
	command.PreRunE = func(command *cobra.Command, _ []string) error {
		logs.InitLogs()
		if err := logsapi.ValidateAndApply(configuration, nil); err != nil {
			return err
		}
		ctrl.SetLogger(klog.Background())
		command.SetContext(klog.NewContext(command.Context(), klog.Background()))
		return nil
	}
	return command
}
