package uml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

var (
	// ErrPowerCut is what Wait returns, possibly wrapped, for a guest that was ended from outside: by PowerCut or because
	// the context of Start ended.
	ErrPowerCut = errors.New("power cut")
	// ErrCrashed is what Wait returns, wrapped, for a guest whose kernel ended with an error, which a panic does.
	ErrCrashed = errors.New("guest's kernel crashed")
)

// Guest is a running or ended guest. All methods may be called from any goroutine.
type Guest struct {
	machine Machine
	process *os.Process
	input   *os.File // typed into the console; its end is how the guest notices that its starter is gone
	tail    *tail
	cut     sync.Once
	wasCut  chan struct{}
	done    chan struct{}
	err     error // set before done is closed
}

// Start boots the machine and returns at once. The guest is power-cut when ctx ends: give it a deadline.
//
// The kernel runs in a session of its own, so that a Ctrl-C at a terminal does not reach it; whoever starts a guest must
// cancel ctx and Wait before exiting, else the guest lives on unless it watches (guest.WatchStarter).
func (m Machine) Start(ctx context.Context) (*Guest, error) {
	arguments, err := m.CommandLine()
	if err != nil {
		return nil, err
	}
	kernel, err := m.kernelPath()
	if err != nil {
		return nil, err
	}
	for _, disk := range m.Disks {
		// The kernel would boot without a disk that it cannot open.
		if _, err := os.Stat(disk); err != nil {
			return nil, fmt.Errorf("%w: disk: %w", ErrInvalidMachine, err)
		}
	}
	if err := os.MkdirAll(m.Directory, 0o700); err != nil {
		return nil, err
	}
	// Left by an earlier guest of that name that was cut; the kernel would refuse a directory whose process id is in use.
	if err := os.RemoveAll(filepath.Join(m.Directory, m.Name)); err != nil {
		return nil, err
	}

	streams, err := newStreams(append([]io.Writer{m.Console}, m.Channels...))
	if err != nil {
		return nil, err
	}
	inputReader, inputWriter, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, streams.closeAll())
	}
	command := exec.Command(kernel, arguments...)
	command.Dir = m.Directory
	console := streams.writers[0]
	command.Stdin, command.Stdout, command.Stderr, command.ExtraFiles = inputReader, console, console, streams.writers[1:]
	command.Env = environment(os.Environ())
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return nil, errors.Join(err, inputReader.Close(), inputWriter.Close(), streams.closeAll())
	}
	_ = inputReader.Close()
	streams.closeWriters()

	guest := &Guest{machine: m, process: command.Process, input: inputWriter, tail: newTail(tailSize), wasCut: make(chan struct{}), done: make(chan struct{})}
	go guest.supervise(ctx, command, streams)
	return guest, nil
}

// supervise owns the guest's processes and streams until all have ended, then closes done.
func (g *Guest) supervise(ctx context.Context, command *exec.Cmd, streams *streams) {
	copied := make(chan error, 1)
	go func() { copied <- streams.copy(g.tail) }()
	if g.machine.Input != nil {
		// Ends at the next Read's return once input is closed.
		go func() { _, _ = io.Copy(g.input, g.machine.Input) }()
	}
	stop := context.AfterFunc(ctx, func() { _ = g.PowerCut() })
	defer stop()

	ticking, endTicking := context.WithCancel(context.WithoutCancel(ctx))
	var ticker sync.WaitGroup
	ticker.Go(func() { g.keepTicking(ticking) })

	exit := command.Wait()
	endTicking()
	ticker.Wait()
	// The kernel's threads and the guest's processes are processes of their own on the host. They hold the disks and the
	// console and outlive a kernel that was killed.
	trouble := killGroup(g.process.Pid)
	_ = g.input.Close()
	trouble = errors.Join(trouble, <-copied)

	switch {
	case closed(g.wasCut) && ctx.Err() != nil:
		g.err = fmt.Errorf("%w: %w", ErrPowerCut, context.Cause(ctx))
	case closed(g.wasCut):
		g.err = ErrPowerCut
	case exit != nil && !poweredOff(g.tail.String()):
		g.err = fmt.Errorf("%w: %w", ErrCrashed, exit)
	}
	g.err = errors.Join(g.err, trouble)
	close(g.done)
}

// poweredOff tells by the console whether the kernel came to the end of an orderly shutdown (kernel/reboot.c prints it).
// Now and then a 6.1 kernel aborts right behind that point, when a timer fires while it ends its processes.
func poweredOff(console string) bool {
	return strings.Contains(console, "reboot: System halted") || strings.Contains(console, "reboot: Power down")
}

// Name returns the machine's name.
func (g *Guest) Name() string { return g.machine.Name }

// Pid returns the process id of the guest's kernel on the host; it is also the id of its process group and session.
func (g *Guest) Pid() int { return g.process.Pid }

// Done is closed once the guest has ended and none of its processes is left.
func (g *Guest) Done() <-chan struct{} { return g.done }

// Wait waits until the guest has ended and none of its processes is left. It returns nil if the guest powered itself off,
// ErrPowerCut or ErrCrashed (both wrapped) otherwise. It says nothing about what ran in the guest: let process 1 leave
// that in a file.
func (g *Guest) Wait() error {
	<-g.done
	return g.err
}

// PowerCut ends the guest as pulling the plug would: nothing in it gets a chance to flush. It returns once no process of
// the guest is left, so the disks are free for the next start. Cutting an ended guest does nothing.
func (g *Guest) PowerCut() error {
	if closed(g.done) {
		return nil
	}
	g.cut.Do(func() {
		close(g.wasCut)
		_ = syscall.Kill(-g.process.Pid, syscall.SIGKILL)
	})
	select {
	case <-g.done:
		return nil
	case <-time.After(2 * killPatience):
		return fmt.Errorf("guest %s (process group %d) outlived SIGKILL", g.machine.Name, g.process.Pid)
	}
}

// ConsoleTail returns the last part of the console, up to 64 KiB.
func (g *Guest) ConsoleTail() string { return g.tail.String() }

func closed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}
