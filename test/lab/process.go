package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopPatience is how long the kernel may take to end all of the lab's processes and namespaces.
const stopPatience = 30 * time.Second

// recordProcess notes the lab's first process together with its start time, which tells it from a later process of that id.
func recordProcess(paths Paths, pid int) error {
	started, err := startTime(pid)
	if err != nil {
		return err
	}
	return os.WriteFile(paths.processFile(), fmt.Appendf(nil, "%d %s\n", pid, started), 0o600)
}

// firstProcess returns the id of the lab's first process, or ErrNotRunning.
func firstProcess(paths Paths) (int, error) {
	content, err := os.ReadFile(paths.processFile())
	if errors.Is(err, os.ErrNotExist) {
		return 0, ErrNotRunning
	}
	if err != nil {
		return 0, err
	}
	var pid int
	var recorded string
	if _, err := fmt.Sscan(string(content), &pid, &recorded); err != nil {
		return 0, fmt.Errorf("%s: %w", paths.processFile(), err)
	}
	if started, err := startTime(pid); err != nil || started != recorded {
		return 0, ErrNotRunning
	}
	return pid, nil
}

// stop kills the lab's first process, with which the kernel ends the PID namespace and so every process of the lab, and waits
// for that. The network and mount namespaces go with their last process.
func stop(ctx context.Context, paths Paths) error {
	pid, err := firstProcess(paths)
	if errors.Is(err, ErrNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	handle, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer unix.Close(handle)
	// Between reading the file and opening the handle the process may have been replaced; from here on the handle is sure.
	if again, err := firstProcess(paths); err != nil || again != pid {
		return nil
	}
	if err := unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	return awaitEnd(ctx, handle, pid)
}

// awaitEnd waits until the process is gone: the first process of a PID namespace ends last.
func awaitEnd(ctx context.Context, handle, pid int) error {
	deadline := time.Now().Add(stopPatience)
	for {
		events := []unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}
		n, err := unix.Poll(events, 100)
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case n > 0:
			// A child of this very process is to be reaped by it; of another's it is not.
			var status syscall.WaitStatus
			_, _ = syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Now().After(deadline):
			return fmt.Errorf("the lab's process %d outlived SIGKILL by %s", pid, stopPatience)
		}
	}
}

// startTime is the process' start in clock ticks since boot: field 22 of /proc/PID/stat, see proc(5).
func startTime(pid int) (string, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// Field 2, the command in parentheses, may hold anything.
	_, rest, _ := strings.Cut(string(content[strings.LastIndexByte(string(content), ')'):]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return "", fmt.Errorf("/proc/%d/stat has %d fields after the command", pid, len(fields))
	}
	if fields[0] == "Z" {
		return "", os.ErrProcessDone
	}
	return fields[19], nil
}

func (p Paths) processFile() string { return filepath.Join(p.Run, "process") }

// lockFile is held while the lab is brought up or taken down.
func (p Paths) lockFile() string { return p.Disks + ".lock" }
