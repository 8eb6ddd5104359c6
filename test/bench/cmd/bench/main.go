//go:build linux

// Command bench runs the benchmarks of package test/bench in a guest and prints the tables, or writes them to a document
// between the lines that mark their place:
//
//	bench [-short] [-write docs/performance.md]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/csi-dm/csi-dm/test/kerneltest/runner"
)

const (
	benchPackage = "./test/bench"
	// Sparse files in the host's memory: what is written counts.
	diskSize = 16 << 30
	memory   = 3 << 30
	timeout  = 45 * time.Minute
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	options := runner.Options{
		Packages: []string{benchPackage}, Run: "^TestPerformance$", Bench: "^$", Count: 1,
		Memory: memory, DiskSize: diskSize, Timeout: timeout, Grace: runner.DefaultGrace,
	}
	document := flag.String("write", "", "write the tables to this `file` instead of printing them")
	command := flag.String("command", "make bench", "the `command` that the tables name as theirs")
	flag.BoolVar(&options.Short, "short", false, "take few samples, to see that it works")
	flag.Parse()
	var err error
	if options.Cache, err = runner.DefaultCache(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	output := &extractor{progress: os.Stderr}
	options.Output = output
	before := describeLoad()
	if err := runner.Run(ctx, options); err != nil {
		return err
	}
	text, err := output.document(describeRun(*command, before, describeLoad()))
	if err != nil {
		return err
	}
	if *document != "" {
		return replaceIn(*document, text)
	}
	_, err = fmt.Print(text)
	return err
}
