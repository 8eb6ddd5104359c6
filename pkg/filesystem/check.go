package filesystem

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrCheckFailed reports that e2fsck found damage that it does not repair without being asked, or could not run.
var ErrCheckFailed = errors.New("file system check failed")

const (
	// checkGrace is how long e2fsck has to end after SIGTERM.
	checkGrace = 10 * time.Second
	// checkOutput is how much of its output goes into an error, in bytes, from the end.
	checkOutput = 1024
)

// Exit status of e2fsck(8), a sum of bits: corrected, and corrected with a reboot wanted (which is for mounted ones).
const (
	checkCorrected       = 1
	checkCorrectedReboot = 2
)

// CheckExt4 runs e2fsck -p on a device that is not mounted: it replays the journal and repairs what is safe to repair. It
// is for a file system that carries the mark of an error or that the kernel refused; the clean way never comes here. It
// ends with ctx, and what it has not finished is taken up by the next run.
func CheckExt4(ctx context.Context, device string) error {
	return runCheck(ctx, "e2fsck", "-p", "--", device)
}

func runCheck(ctx context.Context, name string, arguments ...string) error {
	command := exec.CommandContext(ctx, name, arguments...)
	command.Cancel = func() error { return command.Process.Signal(unix.SIGTERM) }
	command.WaitDelay = checkGrace
	output, err := command.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() && exit.ExitCode()&^(checkCorrected|checkCorrectedReboot) == 0 {
		return nil
	}
	if err != nil {
		text := strings.TrimSpace(string(output))
		if len(text) > checkOutput {
			text = "…" + text[len(text)-checkOutput:]
		}
		return fmt.Errorf("%w: %s: %w: %s", ErrCheckFailed, strings.Join(command.Args, " "), errors.Join(err, ctx.Err()), text)
	}
	return nil
}
