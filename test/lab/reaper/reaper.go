// Package reaper is the duty of a process 1, in a PID namespace or in a guest: it runs one program, and reaps whatever else
// becomes its child because its own parent ended. It is a process of its own because package os/exec cannot share the waiting
// for children with anybody.
package reaper

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Run runs the program with the given arguments, passes on the file descriptors from 3 up that are given, and returns its exit
// status once it ended; 128 plus the signal's number if a signal ended it. All other children are reaped meanwhile and left
// alone afterwards.
func Run(program string, arguments []string, files ...*os.File) (int, error) {
	process, err := os.StartProcess(program, append([]string{program}, arguments...), &os.ProcAttr{
		Files: append([]*os.File{os.Stdin, os.Stdout, os.Stderr}, files...),
		Env:   os.Environ(),
	})
	if err != nil {
		return 0, err
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for children: %w", err)
		case pid != process.Pid:
		case status.Signaled():
			return 128 + int(status.Signal()), nil
		case status.Exited():
			return status.ExitStatus(), nil
		}
	}
}
