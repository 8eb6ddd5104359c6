package agent

import (
	"context"
	"testing"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

func (p *scriptedPool) Usage(context.Context) (thinpool.PoolUsage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.usage, p.usageErr
}

func TestUsageIsWrittenWhenItChanges(t *testing.T) {
	h := newHarness(t, readyPool(nil), volumeObject("v", made), volumeObject("new", nil), volumeObject("elsewhere", func(v *v1alpha1.ThinVolume) {
		made(v)
		v.Spec.PoolName = "slow"
	}))
	h.openPool()
	reporter := usageReporter{client: h.cluster, pools: h.set}
	for _, step := range []struct {
		held   thinpool.Usage
		writes int
		why    string
	}{
		{thinpool.Usage{Mapped: 1000 << 20, Exclusive: 100 << 20}, 1, "the first figures"},
		{thinpool.Usage{Mapped: 1000 << 20, Exclusive: 100 << 20}, 1, "the same"},
		{thinpool.Usage{Mapped: 1040 << 20, Exclusive: 104 << 20}, 1, "four percent more"},
		{thinpool.Usage{Mapped: 1000 << 20, Exclusive: 110 << 20}, 2, "ten percent more alone"},
		{thinpool.Usage{Mapped: 900 << 20, Exclusive: 110 << 20}, 3, "ten percent less in all"},
		{thinpool.Usage{}, 4, "nothing any more"},
		{thinpool.Usage{}, 4, "still nothing"},
	} {
		h.pool.usage = thinpool.PoolUsage{Volumes: map[string]thinpool.Usage{"v": step.held, "new": step.held, "elsewhere": step.held}}
		before := h.volume("v").Status
		if err := reporter.report(t.Context(), "fast"); err != nil {
			t.Fatal(err)
		}
		after := h.volume("v").Status
		if h.statusWrites != step.writes {
			t.Errorf("%s: %d writes, want %d", step.why, h.statusWrites, step.writes)
		}
		if wrote := step.writes > 0 && (before.Allocated == nil || !before.Allocated.Equal(*after.Allocated) || !before.Exclusive.Equal(*after.Exclusive)); wrote &&
			(after.Allocated.Value() != step.held.Mapped || after.Exclusive.Value() != step.held.Exclusive) {
			t.Errorf("%s: %s and %s were written", step.why, after.Allocated, after.Exclusive)
		}
		if after.ThinID == nil || len(after.Conditions) != 1 {
			t.Errorf("%s: the rest of the status is %+v", step.why, after)
		}
	}
	for _, name := range []string{"new", "elsewhere"} {
		if status := h.volume(name).Status; status.Allocated != nil || status.Exclusive != nil {
			t.Errorf("%s: %+v", name, status)
		}
	}
}

func TestUsageOfPoolThatCannotBeRead(t *testing.T) {
	h := newHarness(t, readyPool(nil), volumeObject("v", made))
	reporter := usageReporter{client: h.cluster, pools: h.set}
	if err := reporter.report(t.Context(), "fast"); err != nil {
		t.Errorf("not open: %v", err)
	}
	h.openPool()
	h.pool.usageErr = &thinpool.Error{Op: "read", Pool: "fast", Err: thinpool.ErrPoolFailed}
	if err := reporter.report(t.Context(), "fast"); err != nil {
		t.Errorf("failed: %v", err)
	}
	h.pool.usageErr = thinpool.ErrMetadataHeld
	if err := reporter.report(t.Context(), "fast"); err == nil {
		t.Error("metadata that somebody holds is no error")
	}
	if h.statusWrites != 0 {
		t.Errorf("%d writes", h.statusWrites)
	}
}
