package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/csi-dm/csi-dm/test/lab/control"
)

// component is a process of the control plane. It is not started again when it ends: that is something to look at.
type component struct {
	name    string
	log     string
	command *exec.Cmd
	done    chan struct{}
	err     error // set before done is closed
}

// startComponent starts a program with its output in a log file. It is killed when ctx ends.
func startComponent(ctx context.Context, logs, name, program string, arguments ...string) (*component, error) {
	log, err := os.Create(filepath.Join(logs, name+".log"))
	if err != nil {
		return nil, err
	}
	c := &component{name: name, log: log.Name(), done: make(chan struct{})}
	c.command = exec.CommandContext(ctx, program, arguments...)
	c.command.Stdout, c.command.Stderr = log, log
	if err := c.command.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	go func() {
		defer close(c.done)
		c.err = errors.Join(c.command.Wait(), log.Close())
	}()
	return c, nil
}

// running tells whether the process is there.
func (c *component) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// failure describes how the component ended.
func (c *component) failure() error {
	return fmt.Errorf("%s ended (see %s): %w", c.name, c.log, c.err)
}

func (c *component) status() control.Component {
	return control.Component{Name: c.name, Running: c.running(), ResidentBytes: resident(c.command.Process.Pid), Log: c.log}
}

// resident is the memory that a process has in use, in bytes; 0 if it is gone.
func resident(pid int) int64 {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(content))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
