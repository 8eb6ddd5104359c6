//go:build kernel

package devicemapper_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// dm-stats is the device mapper's own user of answers to messages.
func TestMessageAnswers(t *testing.T) {
	ctx, c := open(t)
	device := activate(ctx, t, c, "stats", devicemapper.Table{{Length: 1000, Target: devicemapper.Zero{}}})

	id, err := c.Message(ctx, device, 0, "@stats_create - /1000")
	if err != nil || id != "0" {
		t.Fatalf("@stats_create: %q, %v, want region 0", id, err)
	}
	list, err := c.Message(ctx, device, 0, "@stats_list")
	if err != nil || !strings.HasPrefix(list, "0: 0+1000 1 ") {
		t.Errorf("@stats_list: %q, %v", list, err)
	}
	// A line per sector does not fit the first buffer.
	lines, err := c.Message(ctx, device, 0, "@stats_print 0")
	if err != nil || strings.Count(lines, "\n") != 1000 || !strings.HasSuffix(lines, "\n") {
		t.Errorf("@stats_print: %d lines, %v, want 1000", strings.Count(lines, "\n"), err)
	}
	empty, err := c.Message(ctx, device, 0, "@stats_delete 0")
	if err != nil || empty != "" {
		t.Errorf("@stats_delete: %q, %v", empty, err)
	}
	list, err = c.Message(ctx, device, 0, "@stats_list")
	if err != nil || list != "" {
		t.Errorf("@stats_list without regions: %q, %v", list, err)
	}
}

// A message reaches the target at the sector it names.
func TestMessageSector(t *testing.T) {
	ctx, c := open(t)
	p := newPool(ctx, t, c, 64*mebibyte, nil)
	if _, err := c.Message(ctx, p, p.size-1, "create_thin 1"); err != nil {
		t.Errorf("message at the pool's last sector: %v", err)
	}
	if err := c.CreateThin(ctx, p, 1); !errors.Is(err, devicemapper.ErrThinExist) {
		t.Errorf("the message had no effect: %v", err)
	}
}

func TestPoolMessages(t *testing.T) {
	ctx, c := open(t)
	p := newPool(ctx, t, c, 64*mebibyte, nil)
	for _, id := range []devicemapper.ThinID{0, 1, devicemapper.MaxThinID} {
		if err := c.CreateThin(ctx, p, id); err != nil {
			t.Error(err)
		}
	}
	if err := c.CreateSnapshot(ctx, p, 2, devicemapper.MaxThinID); err != nil {
		t.Error(err)
	}
	for _, id := range []devicemapper.ThinID{devicemapper.MaxThinID, 0, 1, 2} {
		if err := c.DeleteThin(ctx, p, id); err != nil {
			t.Error(err)
		}
	}
	const largest = 1<<64 - 1
	for _, step := range [][2]uint64{{0, 7}, {7, largest}, {largest, 1}} {
		if err := c.SetTransactionID(ctx, p, step[0], step[1]); err != nil {
			t.Error(err)
		}
		status, err := c.ThinPoolStatus(ctx, p)
		if err != nil || status.TransactionID != step[1] {
			t.Errorf("transaction id %d, %v, want %d", status.TransactionID, err, step[1])
		}
	}
	if err := c.ReserveMetadataSnapshot(ctx, p); err != nil {
		t.Error(err)
	}
	if status, err := c.ThinPoolStatus(ctx, p); err != nil || status.HeldMetadataRoot == 0 || status.HeldMetadataRoot >= status.TotalMetadata {
		t.Errorf("status with a metadata snapshot: %+v, %v", status, err)
	}
	if err := c.ReleaseMetadataSnapshot(ctx, p); err != nil {
		t.Error(err)
	}
	if status, err := c.ThinPoolStatus(ctx, p); err != nil || status.HeldMetadataRoot != 0 {
		t.Errorf("status without a metadata snapshot: %+v, %v", status, err)
	}
}
