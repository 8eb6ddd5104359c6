//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/kerneltest/job"
)

const (
	// outputPatience is how long a step's output may stay open after its end, as it does when the step left a process
	// behind.
	outputPatience  = 3 * time.Second
	statusNoStart   = 127
	statusSignalled = 128
	statusNoOutput  = 125
)

// runStep runs a step and reports its output and end. The error is about the guest, not about the step.
func runStep(description job.Job, step job.Step, events *reporter) error {
	events.report(job.Event{Kind: job.Started, Step: step.Name})
	output := outputWriter{events: events, step: step.Name}
	command := stepCommand(description, step)
	command.Stdout, command.Stderr = output, output
	command.WaitDelay = outputPatience
	status := exitStatus(command.Run(), output)
	// At the end of the guest would be too late if a later step hangs it. Other file systems are the tests' business.
	if err := syncDirectory(description.Directory); err != nil {
		return err
	}
	events.report(job.Event{Kind: job.Ended, Step: step.Name, Status: status})
	return nil
}

// runInteractive gives the step the console as its controlling terminal.
func runInteractive(description job.Job, step job.Step, events *reporter) error {
	terminal, err := os.OpenFile("/dev/tty0", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer terminal.Close()
	size := unix.Winsize{Row: description.Rows, Col: description.Columns}
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &size); err != nil {
		return fmt.Errorf("set size of the console: %w", err)
	}
	command := stepCommand(description, step)
	command.Stdin, command.Stdout, command.Stderr = terminal, terminal, terminal
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	events.report(job.Event{Kind: job.Started, Step: step.Name})
	status := exitStatus(command.Run(), terminal)
	events.report(job.Event{Kind: job.Ended, Step: step.Name, Status: status})
	return nil
}

func stepCommand(description job.Job, step job.Step) *exec.Cmd {
	environment := append(environment(description), step.Environment...)
	command := exec.Command(step.Command[0], step.Command[1:]...)
	command.Dir, command.Env = step.Directory, environment
	return command
}

// exitStatus turns the end of a command into a status as shells have it, and says on output what a status cannot.
func exitStatus(err error, output interface{ WriteString(string) (int, error) }) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, exec.ErrWaitDelay):
		_, _ = output.WriteString("a process was left behind that holds the output open\n")
		return statusNoOutput
	case errors.As(err, &exit):
		if state, ok := exit.Sys().(syscall.WaitStatus); ok && state.Signaled() {
			_, _ = output.WriteString(fmt.Sprintf("ended by signal: %s\n", state.Signal()))
			return statusSignalled + int(state.Signal())
		}
		return exit.ExitCode()
	default:
		_, _ = output.WriteString(err.Error() + "\n")
		return statusNoStart
	}
}

func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	defer directory.Close()
	if err := unix.Syncfs(int(directory.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
