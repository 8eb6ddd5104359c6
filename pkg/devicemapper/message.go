package devicemapper

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// Message sends a message to the target at a sector of a device's live table
// and returns the target's answer, which for most messages is empty. Messages
// that begin with "@" go to the device mapper itself and need no table.
//
// Words are separated by blanks; a backslash takes the next character as it
// is. ErrNoTable: there is no live table (the kernel itself calls this
// success). syscall.EINVAL: the target does not know the message.
func (c *Client) Message(ctx context.Context, ref Ref, sector Sectors, message string) (string, error) {
	if strings.TrimSpace(message) == "" || strings.Contains(message, "\x00") {
		return "", invalid("message", message, "at least one word, and no zero byte")
	}
	// struct dm_target_msg: the sector, then the text.
	payload := binary.NativeEndian.AppendUint64(nil, uint64(sector))
	payload = append(append(payload, message...), 0)

	r, err := c.call(ctx, request{op: "message", command: unix.DM_TARGET_MSG, ref: ref, payload: payload, room: 512})
	if err != nil {
		var refused *Error
		if errors.As(err, &refused) {
			refused.Message = message
		}
		return "", err
	}
	if !r.flag(unix.DM_DATA_OUT_FLAG) {
		return "", nil
	}
	answer, terminated := text(r.data)
	if !terminated {
		return "", &FormatError{What: "answer to a message", Text: answer, Reason: "it has no end"}
	}
	return answer, nil
}
