//go:build linux

// Command bench runs the benchmarks of package test/bench in a guest and prints the tables, or writes them to a document
// between the lines that mark their place, and the plot to a file of its name that ends in .svg:
//
//	bench [-short] [-write docs/performance.md]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/csi-dm/csi-dm/test/bench"
	"github.com/csi-dm/csi-dm/test/kerneltest/runner"
)

const (
	benchPackage = "./test/bench"
	// Sparse files in the host's memory: what is written counts.
	diskSize = 160 << 30
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
	only := flag.String("only", "", "measure only these `sections`, separated by commas: create, profile, throughput, activation, open, snapshot, execs, deletion, overhead")
	flag.Parse()
	if *only != "" {
		options.Run += "/^(" + strings.ReplaceAll(regexp.QuoteMeta(*only), ",", "|") + ")$"
		if *document != "" {
			return errors.New("-write takes a whole run")
		}
	}
	var err error
	if options.Cache, err = runner.DefaultCache(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	output := &extractor{progress: os.Stderr}
	options.Output = output
	before := bench.HostLoad()
	failure := runner.Run(ctx, options)
	text, err := output.document(describeRun(*command, before))
	if err != nil {
		return errors.Join(failure, err)
	}
	if *document == "" || failure != nil {
		// What a run measured before it failed is worth seeing, and not worth keeping.
		fmt.Print(text)
		return failure
	}
	return write(*document, text, output)
}

// describeRun says where and when the figures were taken.
func describeRun(command, loadBefore string) string {
	return fmt.Sprintf("Printed by `%s` on %s: guest with one processor on a host with %s; load average of the host %s at the beginning, %s at the end.\n",
		command, time.Now().UTC().Format("2006-01-02 15:04 UTC"), bench.Host(), loadBefore, bench.HostLoad())
}

// write puts the tables into the document and the plot beside it.
func write(document, text string, output *extractor) error {
	plot, err := output.plot()
	if err != nil {
		return err
	}
	if err := place.Replace(document, text); err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(document, ".md")+".svg", []byte(plot), 0o644)
}
