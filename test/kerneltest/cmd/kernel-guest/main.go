//go:build linux

// Command kernel-guest is process 1 of the guest in which kernel tests run: it sets the guest up, runs the steps of a job,
// reports over the machine's first channel and powers the machine off.
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/kerneltest/job"
	"github.com/csi-dm/csi-dm/test/uml/guest"
)

func main() {
	// Whatever happens the machine is powered off: the end of process 1 would be a kernel panic.
	defer guest.PowerOff()
	channel, err := guest.OpenChannel(0)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernel-guest:", err)
		return
	}
	events := newReporter(channel)
	if err := run(events); err != nil {
		events.report(job.Event{Kind: job.Failed, Reason: err.Error()})
	}
	// The terminal has sent everything once this returns.
	if err := unix.IoctlSetInt(int(channel.Fd()), unix.TCSBRK, 1); err != nil {
		fmt.Fprintln(os.Stderr, "kernel-guest: drain channel:", err)
	}
}

func run(events *reporter) error {
	path := os.Getenv(job.FileVariable)
	description, err := job.Read(path)
	if err != nil {
		return err
	}
	if err := prepare(description); err != nil {
		return err
	}
	if !description.Interactive {
		if err := guest.WatchStarter(guest.PowerOff); err != nil {
			return err
		}
	}
	events.report(job.Event{Kind: job.Booted, Kernel: kernelRelease()})
	for _, step := range description.Steps {
		if description.Interactive {
			err = runInteractive(description, step, events)
		} else {
			err = runStep(description, step, events)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err.Error()
	}
	return unix.ByteSliceToString(name.Release[:])
}
