package devicemapper

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// Create makes a device without a table. Its size is 0, and its node appears
// when it gets its first table. The UUID may be empty.
//
// ErrExist says that a device has the name or the UUID, which includes a
// device whose deferred removal is pending. The kernel reports that as EBUSY.
func (c *Client) Create(ctx context.Context, name Name, uuid UUID) (Device, error) {
	if _, err := ParseName(string(name)); err != nil {
		return Device{}, err
	}
	if uuid != "" {
		if _, err := ParseUUID(string(uuid)); err != nil {
			return Device{}, err
		}
	}
	r, err := c.call(ctx, request{
		op: "create", command: unix.DM_DEV_CREATE, ref: name,
		prepare: func(h *unix.DmIoctl) { copy(h.Uuid[:], uuid) },
	})
	if err != nil {
		var refused *Error
		if errors.As(err, &refused) && refused.Errno == unix.EBUSY {
			refused.meaning = ErrExist
		}
		return Device{}, err
	}
	device := r.device()
	device.Name, device.UUID = name, uuid
	return device, nil
}
