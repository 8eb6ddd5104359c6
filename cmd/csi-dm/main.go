// Command csi-dm is the driver: its node plugin, its controller, and an admin's view of a node.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/component-base/logs"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	defer logs.FlushLogs()
	root := newRootCommand()
	_, _, err := root.Find(os.Args[1:])
	if err != nil {
		err = marked{err, errUsage}
	} else {
		err = root.ExecuteContext(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "csi-dm:", err)
	}
	return exitStatus(err)
}
