package filesystem

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

// ErrCheckFailed reports that e2fsck found damage that it does not repair without being asked, or could not run.
var ErrCheckFailed = errors.New("file system check failed")

const (
	// checkGrace is how long e2fsck has to end after SIGTERM.
	checkGrace = 10 * time.Second
	// checkOutput is how much of its output goes into an error, in bytes, from the end.
	checkOutput = 1024
)

// Exit status of e2fsck(8), a sum of bits: corrected, corrected with a reboot wanted (which is for mounted ones), and left
// uncorrected.
const (
	checkCorrected       = 1
	checkCorrectedReboot = 2
	checkUncorrected     = 4
)

// CheckExt4 runs e2fsck -p on a device that is not mounted: it replays the journal and repairs what is safe to repair. It
// is for a file system that carries the mark of an error or that the kernel refused; the clean way never comes here. It
// ends with ctx, and what it has not finished is taken up by the next run.
//
// A file system that was unmounted while its disk refused writes may hold synced data in its journal alone: the kernel keeps
// the journal, and yet says that there is nothing to recover (ext4_put_super in fs/ext4/super.c). The next mount would wipe
// it, and e2fsck -p leaves the choice to a person. It is replayed: nothing has been written since.
func CheckExt4(ctx context.Context, device string) error {
	err := runCheck(ctx, "e2fsck", "-p", "--", device)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !exit.Exited() || exit.ExitCode()&checkUncorrected == 0 || needsRecovery(device) {
		return err
	}
	if journalErr := runCheck(ctx, "e2fsck", "-y", "-E", "journal_only", "--", device); journalErr != nil {
		return errors.Join(err, journalErr)
	}
	return runCheck(ctx, "e2fsck", "-p", "--", device)
}

// needsRecovery tells whether the superblock has the next mount replay the journal.
func needsRecovery(device string) bool {
	file, err := os.Open(device)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	superblock, err := ReadSuperblock(file)
	return err == nil && superblock.NeedsRecovery
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
