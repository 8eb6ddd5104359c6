//go:build kernel

package devicemapper_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// A device that is open gets another name, and keeps its UUID and number.
func TestRename(t *testing.T) {
	ctx, c := open(t)
	device := activate(ctx, t, c, "before", zeroTable)
	other := activate(ctx, t, c, "other", zeroTable)
	file := direct(t, device.Path())
	if err := c.Rename(ctx, "before", "after"); err != nil {
		t.Fatal(err)
	}
	info, err := c.Info(ctx, device.UUID)
	if err != nil || info.Name != "after" || info.Number != device.Number || info.OpenCount != 1 {
		t.Errorf("after a rename: %+v, %v", info, err)
	}
	if _, err := c.Info(ctx, devicemapper.Name("before")); !errors.Is(err, devicemapper.ErrNotExist) {
		t.Errorf("the former name: %v", err)
	}
	expectRefusal(t, "rename to a name in use", c.Rename(ctx, "after", other.Name), syscall.EBUSY, devicemapper.ErrExist)
	expectRefusal(t, "rename of nothing", c.Rename(ctx, "before", "elsewhere"), syscall.ENXIO, devicemapper.ErrNotExist)
	if err := c.Rename(ctx, "after", "a/b"); !errors.Is(err, devicemapper.ErrInvalid) {
		t.Errorf("rename to no name: %v", err)
	}
	file.Close()
	if _, err := c.Remove(ctx, info.Device, devicemapper.RemoveOptions{}); err != nil {
		t.Error(err)
	}
}
