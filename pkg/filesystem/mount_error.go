package filesystem

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// MountError says which step of a mount or unmount failed, and what the kernel said to it. It unwraps to the errno.
type MountError struct {
	Op     string // the system call
	Device string // empty for a bind mount and for an unmount
	Target string
	Err    error
	// What the kernel wrote into the mount's own log, at most a few lines.
	Messages []string
}

func (e *MountError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s", e.Op)
	if e.Device != "" {
		fmt.Fprintf(&text, " %s", e.Device)
	}
	fmt.Fprintf(&text, " on %s: %v", e.Target, e.Err)
	if len(e.Messages) > 0 {
		fmt.Fprintf(&text, " (%s)", strings.Join(e.Messages, "; "))
	}
	return text.String()
}

func (e *MountError) Unwrap() error { return e.Err }

// Damaged tells whether a mount failed because the file system is not consistent: EUCLEAN (the kernel's EFSCORRUPTED) or
// EBADMSG (EFSBADCRC).
func Damaged(err error) bool {
	return errors.Is(err, unix.EUCLEAN) || errors.Is(err, unix.EBADMSG)
}

// contextMessages reads what the kernel wrote into the log of a file system context: one message a read, "e TEXT".
func contextMessages(context int) []string {
	const most = 8
	var messages []string
	buffer := make([]byte, 1024)
	for len(messages) < most {
		n, err := unix.Read(context, buffer)
		if err != nil || n <= 0 {
			break // ENODATA: no more
		}
		text := strings.TrimSpace(string(buffer[:n]))
		if _, message, found := strings.Cut(text, " "); found {
			text = message
		}
		messages = append(messages, text)
	}
	return messages
}
