package devicemapper

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// Rename gives a device another name; the kernel finds it by its present one and in no other way. Whoever has it open notices
// nothing. ErrExist: the new name is in use. ErrNotExist: there is no such device.
func (c *Client) Rename(ctx context.Context, present, name Name) error {
	if _, err := ParseName(string(name)); err != nil {
		return err
	}
	_, err := c.call(ctx, request{
		op: "rename", command: unix.DM_DEV_RENAME, ref: present, event: udevFlags, payload: append([]byte(name), 0),
	})
	var refused *Error
	if errors.As(err, &refused) && refused.Errno == unix.EBUSY {
		refused.meaning = ErrExist
	}
	return err
}
