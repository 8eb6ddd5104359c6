// Recorder runs on a node and writes every program execution there to standard output, a JSON object a line, until it gets
// SIGTERM. Its last line is the number of executions that the kernel could not report: {"lost":0}.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/csi-dm/csi-dm/test/e2e/exectrace/audit"
)

func main() {
	if err := record(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func record() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	listener, err := audit.Listen()
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(os.Stdout)
	err = listener.Run(ctx, func(exec audit.Exec) error { return encoder.Encode(exec) })
	lost, lostErr := listener.Lost()
	return errors.Join(err, lostErr, encoder.Encode(map[string]uint32{"lost": lost}), listener.Close())
}
