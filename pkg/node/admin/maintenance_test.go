package admin

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// fakeEngine repairs what it is told to.
type fakeEngine struct {
	repaired []string
	err      error
}

func (*fakeEngine) Check(_ context.Context, config thinpool.Config) (thinpool.CheckReport, error) {
	return thinpool.CheckReport{Pool: config.Name, NeedsCheck: true, Volumes: 7, Lost: []thinpool.LostVolume{{Name: "pvc-9", ThinID: 4, Size: 1 << 30}}, UnknownThinIDs: []uint32{8, 11}}, nil
}

func (e *fakeEngine) Repair(_ context.Context, config thinpool.Config, approved []thinpool.RepairAction) (thinpool.RepairReport, error) {
	e.repaired = append(e.repaired, config.Name)
	report := thinpool.RepairReport{Before: thinpool.CheckReport{Pool: config.Name, NeedsCheck: true}, Damaged: []thinpool.DamagedVolume{{Name: "pvc-3", ThinID: 3, MappedBefore: 3 << 20, MappedAfter: 1 << 20}}}
	if !slices.Contains(approved, thinpool.ActionNeedsCheck) {
		return report, thinpool.ErrNotApproved
	}
	report.Done, report.After = approved, thinpool.CheckReport{Pool: config.Name, MetadataDamage: "first\nsecond"}
	return report, e.err
}

func (pool) Check(context.Context) (thinpool.CheckReport, error) {
	return thinpool.CheckReport{Pool: "fast", Active: true, Mode: thinpool.ModeReadWrite, Volumes: 3}, nil
}

func (pool) Shutdown(context.Context) error { return nil }

func (pool) Grow(context.Context) error { return nil }

func (pool) DropBase(_ context.Context, thin uint32) error {
	if thin != 7 {
		return thinpool.ErrBaseNotFound
	}
	return nil
}

func TestCheckPool(t *testing.T) {
	client, _ := serve(t)
	fast, err := client.CheckPool(t.Context(), "fast")
	if err != nil || !fast.Sound() || !fast.Active || fast.Volumes != 3 {
		t.Errorf("fast: %+v, %v", fast, err)
	}
	slow, err := client.CheckPool(t.Context(), "slow")
	if err != nil || slow.Sound() || slow.Pool != "slow" {
		t.Errorf("slow: %+v, %v", slow, err)
	}
	if _, err := client.CheckPool(t.Context(), "no/such"); !errors.Is(err, pools.ErrUnknown) || !strings.Contains(err.Error(), "no/such") {
		t.Errorf("a pool that is not there: %v", err)
	}
	var text bytes.Buffer
	if err := WriteChecks(&text, []thinpool.CheckReport{fast, slow}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"Pool: fast", "Mode: ReadWrite", "Metadata: sound", "Registry: sound", "Pool: slow", "Mode: not active", "Needs Check: true",
		"Lost Volumes: 1", "    pvc-9, 1 GiB, thin id 4", "Unknown Thin Devices: 2", "    thin ids 8 11",
	} {
		if !strings.Contains(text.String(), line+"\n") {
			t.Errorf("line %q is missing in\n%s", line, text.String())
		}
	}
}

func TestRepairPool(t *testing.T) {
	client, _ := serve(t)
	if _, err := client.RepairPool(t.Context(), "fast", nil); !errors.Is(err, thinpool.ErrNotApproved) {
		t.Errorf("nothing was approved: %v", err)
	}
	if name := <-changed; name != "fast" {
		t.Errorf("%s has changed", name)
	}
	report, err := client.RepairPool(t.Context(), "fast", []thinpool.RepairAction{thinpool.ActionNeedsCheck})
	if err != nil || !slices.Equal(report.Done, []thinpool.RepairAction{thinpool.ActionNeedsCheck}) || <-changed != "fast" {
		t.Errorf("%+v, %v", report, err)
	}
	var text bytes.Buffer
	if err := WriteRepair(&text, report); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Done: clear-needs-check", "Damaged Volumes: 1", "    pvc-3, thin id 3: 1 MiB of 3 MiB are left, the rest reads as zeros", "Metadata: damaged\n    first\n    second"} {
		if !strings.Contains(text.String(), line+"\n") {
			t.Errorf("line %q is missing in\n%s", line, text.String())
		}
	}
	// The device of the other is away, before and after; the repair's own error comes with the opening's.
	engine.err = thinpool.ErrDeviceInUse
	defer func() { engine.err = nil }()
	report, err = client.RepairPool(t.Context(), "slow", []thinpool.RepairAction{thinpool.ActionNeedsCheck})
	if err == nil || !strings.Contains(err.Error(), thinpool.ErrDeviceInUse.Error()) || !strings.Contains(err.Error(), thinpool.ErrDeviceNotFound.Error()) || len(report.Damaged) != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	<-changed
}

func TestGrowPool(t *testing.T) {
	client, _ := serve(t)
	growth, err := client.GrowPool(t.Context(), "fast")
	if err != nil || growth.Before.Data.Total != 100<<30 || growth.After.Data.Total != 100<<30 || <-changed != "fast" {
		t.Errorf("%+v, %v", growth, err)
	}
	if _, err := client.GrowPool(t.Context(), "slow"); !errors.Is(err, pools.ErrNotOpen) {
		t.Errorf("a pool that is not open: %v", err)
	}
	var text bytes.Buffer
	if err := WriteGrowth(&text, Growth{Before: PoolInfo{Data: Space{Total: 1 << 30}}, After: PoolInfo{Data: Space{Total: 2 << 30}}}); err != nil || !strings.Contains(text.String(), "2 GiB, was 1 GiB") {
		t.Errorf("%q, %v", text.String(), err)
	}
}

func TestDropBase(t *testing.T) {
	client, _ := serve(t)
	if err := client.DropBase(t.Context(), "fast", 7); err != nil || <-changed != "fast" {
		t.Error(err)
	}
	if err := client.DropBase(t.Context(), "fast", 8); !errors.Is(err, thinpool.ErrBaseNotFound) {
		t.Errorf("a base that is not there: %v", err)
	}
	if err := client.DropBase(t.Context(), "slow", 7); !errors.Is(err, pools.ErrNotOpen) {
		t.Errorf("a pool that is not open: %v", err)
	}
}

func TestWriteFound(t *testing.T) {
	var text bytes.Buffer
	err := WriteFound(&text, []thinpool.FoundPool{
		{Name: "fast", PoolID: "0123", Made: true, BlockSize: 64 << 10, Needed: 2, Devices: []thinpool.FoundDevice{{Path: "/dev/sdb", Size: 2 << 30, UsedSize: 1 << 30}}},
	})
	if err != nil || !strings.Contains(text.String(), "incomplete") || !strings.Contains(text.String(), "1 of 2") {
		t.Errorf("%s, %v", text.String(), err)
	}
}
