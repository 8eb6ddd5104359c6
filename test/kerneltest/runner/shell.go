package runner

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/csi-dm/csi-dm/test/kerneltest/job"
)

// Shell builds the tests of the packages, if any, and opens a shell on this terminal inside a guest, as the tests would find it. The
// binaries lie in $TESTS there.
func Shell(ctx context.Context, options Options) (err error) {
	options.Output = &lockedWriter{target: options.Output}
	var packages []testPackage
	if len(options.Packages) > 0 {
		if packages, err = findPackages(ctx, options.Packages); err != nil {
			return err
		}
	}
	bench, err := newBench(options.Cache, options.DiskSize)
	defer func() { err = errors.Join(err, bench.remove()) }()
	if err != nil {
		return err
	}
	if bench.init, err = buildGuest(ctx, bench.directory); err != nil {
		return err
	}
	binaries, err := buildTests(ctx, packages, bench.directory)
	if err != nil {
		return err
	}
	for _, binary := range binaries {
		fmt.Fprintln(options.Output, "built", binary)
	}
	working, err := os.Getwd()
	if err != nil {
		return err
	}
	disks, err := bench.makeDisks(0)
	if err != nil {
		return err
	}
	description := bench.job(disks, job.Step{
		Name: "shell", Command: shellCommand(), Directory: working,
		Environment: []string{"TESTS=" + bench.directory, `PS1=guest:\w# `},
	})
	description.Interactive = true
	terminal, onTerminal := options.Input.(*os.File)
	onTerminal = onTerminal && term.IsTerminal(int(terminal.Fd()))
	if onTerminal {
		columns, rows, err := term.GetSize(int(terminal.Fd()))
		if err != nil {
			return fmt.Errorf("size of the terminal: %w", err)
		}
		description.Columns, description.Rows = uint16(columns), uint16(rows)
	}
	machine, err := bench.machine(0, description, options.Memory)
	if err != nil {
		return err
	}
	machine.Console, machine.Input = options.Output, options.Input
	if onTerminal {
		// The guest's terminal echoes and edits, and Ctrl-C is for it.
		state, err := term.MakeRaw(int(terminal.Fd()))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, term.Restore(int(terminal.Fd()), state)) }()
	}
	session, err := startSession(ctx, machine, endless)
	if err != nil {
		return err
	}
	status := 0
	err = session.run(ctx, func(event job.Event) { status = event.Status })
	if err == nil && status != 0 {
		err = fmt.Errorf("shell: exit status %d", status)
	}
	return err
}

func shellCommand() []string {
	if _, err := os.Stat("/bin/bash"); err == nil {
		return []string{"/bin/bash", "--norc", "--noprofile"}
	}
	return []string{"/bin/sh"}
}
