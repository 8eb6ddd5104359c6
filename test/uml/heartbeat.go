package uml

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// heartbeat is how often a guest's clock gets a push.
const heartbeat = time.Second

// keepTicking sends the guest's kernel the signal of its timer, once in a heartbeat, until ctx ends.
//
// A 6.1 kernel forgets a timer now and then: when the signal comes while the handler of the one before still runs
// (unblock_signals in arch/um/os-Linux/signal.c). It believes that the timer is set, and sets another one only if that is
// to come earlier. So nothing that sleeps in the guest ever wakes, while the kernel spins in its idle loop. A signal more
// than there are timers does no harm: the kernel looks which are due, and sets the next.
func (g *Guest) keepTicking(ctx context.Context) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			if handles, err := handlesSignal(g.process.Pid, syscall.SIGALRM); err == nil && handles {
				_ = g.process.Signal(syscall.SIGALRM) // it may just have ended
			}
		}
	}
}

// handlesSignal tells whether a process has a handler for a signal. One that has none, as the kernel while it boots, may be
// ended by it.
func handlesSignal(pid int, signal syscall.Signal) (bool, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false, err
	}
	return caught(status, signal)
}

// caught reads the mask of handled signals (SigCgt) from a process' status.
func caught(status []byte, signal syscall.Signal) (bool, error) {
	_, rest, found := bytes.Cut(status, []byte("\nSigCgt:"))
	if !found {
		return false, fmt.Errorf("status of a process has no SigCgt")
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	mask, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 64)
	if err != nil {
		return false, fmt.Errorf("SigCgt of a process: %w", err)
	}
	return mask&(1<<(uint(signal)-1)) != 0, nil
}
