package devicemapper

import (
	"context"
	"errors"
	"time"
)

// undoTimeout bounds the removal of what a failed Activate has made.
const undoTimeout = 5 * time.Second

// Activate makes a device, loads its table and resumes it. If a step fails,
// the context's end included, the device is removed again; an error of that
// is joined to the first.
func (c *Client) Activate(ctx context.Context, name Name, uuid UUID, table Table) (Device, error) {
	device, err := c.Create(ctx, name, uuid)
	if err != nil {
		return Device{}, err
	}
	if err = c.Load(ctx, device, table, LoadOptions{}); err == nil {
		err = c.Resume(ctx, device)
	}
	if err == nil {
		return device, nil
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if _, undoErr := c.Remove(undo, device, RemoveOptions{BusyTimeout: undoTimeout}); undoErr != nil {
		err = errors.Join(err, undoErr)
	}
	return Device{}, err
}
