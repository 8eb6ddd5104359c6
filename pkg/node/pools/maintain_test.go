package pools

import (
	"context"
	"errors"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

func (p *pool) Check(context.Context) (thinpool.CheckReport, error) {
	return thinpool.CheckReport{Pool: "open"}, nil
}

func (p *pool) Grow(context.Context) error { p.grown++; return nil }

func TestMaintain(t *testing.T) {
	there := map[string]*pool{"a": {}}
	set := opens(there)
	mustOpen(t, set, "a")
	first := there["a"]
	work := func(err error) func(context.Context, thinpool.Config) error {
		return func(_ context.Context, config thinpool.Config) error {
			var notOpen *NotOpenError
			if _, getErr := set.Get("a"); !errors.As(getErr, &notOpen) || notOpen.Cause == nil || config.Name != "a" {
				t.Errorf("while it is worked on: %v, %+v", getErr, config)
			}
			return err
		}
	}
	// In use: nothing is done.
	first.shutdownErr = thinpool.ErrVolumeInUse
	err := set.Maintain(t.Context(), "a", func(context.Context, thinpool.Config) error { t.Error("work was done"); return nil })
	if got, _ := set.Get("a"); !errors.Is(err, thinpool.ErrVolumeInUse) || got != first {
		t.Errorf("%v, %v", got, err)
	}
	// It is another pool afterwards, which the next Open says once, whatever came of the work.
	first.shutdownErr = thinpool.ErrPoolFailed
	there["a"] = &pool{}
	broken := errors.New("broken")
	if err := set.Maintain(t.Context(), "a", work(broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
	for _, want := range []bool{true, false} {
		if got, opened, err := set.Open(t.Context(), thinpool.Config{Name: "a"}); err != nil || opened != want || got != there["a"] {
			t.Errorf("Open: %v, %t, %v", got, opened, err)
		}
	}
	// It does not open any more, and later it does.
	delete(there, "a")
	if err := set.Maintain(t.Context(), "a", work(nil)); !errors.Is(err, thinpool.ErrDeviceNotFound) {
		t.Error(err)
	}
	there["a"] = &pool{}
	if err := set.Maintain(t.Context(), "a", work(nil)); err != nil {
		t.Error(err)
	}
	if got, err := set.Get("a"); err != nil || got != there["a"] {
		t.Errorf("%v, %v", got, err)
	}
	set.Expect("expected", nil)
	for _, name := range []string{"expected", "nobody"} {
		if err := set.Maintain(t.Context(), name, work(nil)); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckOpenOrNot(t *testing.T) {
	there := map[string]*pool{"a": {}}
	set := opens(there)
	mustOpen(t, set, "a")
	_, _, _ = set.Open(t.Context(), thinpool.Config{Name: "b", MinFreePercent: 7})
	offline := func(_ context.Context, config thinpool.Config) (thinpool.CheckReport, error) {
		return thinpool.CheckReport{Pool: config.Name, Volumes: config.MinFreePercent}, nil
	}
	if report, err := set.Check(t.Context(), "a", offline); err != nil || report.Pool != "open" {
		t.Errorf("%+v, %v", report, err)
	}
	if report, err := set.Check(t.Context(), "b", offline); err != nil || report.Pool != "b" || report.Volumes != 7 {
		t.Errorf("%+v, %v", report, err)
	}
	if _, err := set.Check(t.Context(), "c", offline); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if err := set.Grow(t.Context(), "a"); err != nil || there["a"].grown != 1 {
		t.Errorf("it has grown %d times, %v", there["a"].grown, err)
	}
	if err := set.Grow(t.Context(), "b"); !errors.Is(err, ErrNotOpen) {
		t.Error(err)
	}
}
