package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// toolGrace is how long a program has to end after SIGTERM.
	toolGrace = 10 * time.Second
	// toolOutput is how much of a program's output is kept, in bytes, from the beginning: that is where the first thing
	// that is wrong stands.
	toolOutput = 4 << 10
)

// boundedOutput keeps the first bytes that are written to it.
type boundedOutput struct {
	kept    []byte
	dropped bool
}

func (b *boundedOutput) Write(p []byte) (int, error) {
	room := min(len(p), toolOutput-len(b.kept))
	b.kept = append(b.kept, p[:room]...)
	b.dropped = b.dropped || room < len(p)
	return len(p), nil
}

func (b *boundedOutput) String() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(b.kept), "?"))
	if b.dropped {
		text += " …"
	}
	return text
}

// runTool runs a program to its end and gives its exit status and what it said. An error says that it could not be run, or
// was ended: by ctx, or by a signal.
func runTool(ctx context.Context, name string, arguments ...string) (status int, said string, err error) {
	command := exec.CommandContext(ctx, name, arguments...)
	command.Env = append(os.Environ(), "LC_ALL=C")
	command.Cancel = func() error { return command.Process.Signal(unix.SIGTERM) }
	command.WaitDelay = toolGrace
	var output boundedOutput
	command.Stdout, command.Stderr = &output, &output
	err = command.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, output.String(), nil
	case ctx.Err() != nil:
		return 0, "", fmt.Errorf("%s: %w", name, context.Cause(ctx))
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), output.String(), nil
	}
	return 0, "", fmt.Errorf("%s: %w: %s", name, err, output.String())
}
