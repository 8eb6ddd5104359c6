//go:build linux

// Command kernel-test runs the kernel tests of packages inside a User Mode Linux guest, or opens a shell there:
//
//	kernel-test [flags] [packages]
//	kernel-test -shell [flags] [packages]
//
// docs/testing-kernel.md has more.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/csi-dm/csi-dm/test/kerneltest/runner"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kernel-test:", err)
		os.Exit(1)
	}
}

func run() error {
	options := runner.Options{Input: os.Stdin, Output: os.Stdout, Grace: runner.DefaultGrace}
	shell := flag.Bool("shell", false, "build the tests of the packages, if any, and open a shell in a guest")
	memory := flag.Int64("memory", runner.DefaultMemory>>20, "memory of the guest in `MiB`")
	flag.IntVar(&options.Guests, "guests", defaultGuests(), "run the tests of `n` packages at a time")
	flag.StringVar(&options.Run, "run", "", "run only tests that match this `regexp`")
	flag.StringVar(&options.Bench, "bench", "", "run also benchmarks that match this `regexp`")
	flag.IntVar(&options.Count, "count", 1, "run each test `n` times")
	flag.BoolVar(&options.Short, "short", false, "tell tests to be short")
	flag.BoolVar(&options.Verbose, "v", false, "show all output and the guest's console as they come")
	flag.DurationVar(&options.Timeout, "timeout", runner.DefaultTimeout, "how long a package may take")
	arguments := flag.String("args", "", "pass these `words` on to the test binaries")
	flag.StringVar(&options.CoverProfile, "coverprofile", "", "write a merged cover profile to this `file`")
	flag.Parse()
	if options.Bench != "" || options.Verbose {
		options.Guests = 1 // figures want the machine to themselves, and two packages' words would be mixed up
	}
	options.Memory = *memory << 20
	options.Packages = flag.Args()
	options.Arguments = strings.Fields(*arguments)
	if len(options.Packages) == 0 && !*shell {
		options.Packages = []string{"./cmd/...", "./pkg/...", "./test/kerneltest/..."}
	}
	var err error
	if options.Cache, err = runner.DefaultCache(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *shell {
		return runner.Shell(ctx, options)
	}
	err = runner.Run(ctx, options)
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	return err
}

// defaultGuests: a guest has one processor, and the programs around it want some of the second.
func defaultGuests() int { return max(1, min(2, runtime.NumCPU())) }
