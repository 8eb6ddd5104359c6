package pools

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// pool holds volumes by name and counts what is done to it.
type pool struct {
	Pool
	volumes      []string
	volumeErr    error
	shutdownErr  error
	reconfigured []thinpool.Config
	closed       bool
	grown        int
}

func (p *pool) Volume(name string) (thinpool.Volume, error) {
	if p.volumeErr != nil {
		return thinpool.Volume{}, p.volumeErr
	}
	if slices.Contains(p.volumes, name) {
		return thinpool.Volume{Name: name}, nil
	}
	return thinpool.Volume{}, &thinpool.Error{Op: "find", Volume: name, Err: thinpool.ErrVolumeNotFound}
}

func (p *pool) Reconfigure(_ context.Context, config thinpool.Config) error {
	p.reconfigured = append(p.reconfigured, config)
	if config.BlockSize != 0 {
		return thinpool.ErrSourceChanged
	}
	return nil
}

func (p *pool) Shutdown(context.Context) error { return p.shutdownErr }
func (p *pool) Close() error                   { p.closed = true; return nil }

// opens gives a set of pools that are there, by name; others have no device.
func opens(there map[string]*pool) *Set {
	return NewSet(func(_ context.Context, config thinpool.Config) (Pool, error) {
		if pool, ok := there[config.Name]; ok {
			return pool, nil
		}
		return nil, thinpool.ErrDeviceNotFound
	})
}

func mustOpen(t *testing.T, set *Set, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, _, err := set.Open(t.Context(), thinpool.Config{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFind(t *testing.T) {
	set := opens(map[string]*pool{"a": {volumes: []string{"v", "both"}}, "b": {volumes: []string{"w", "both"}}})
	mustOpen(t, set, "a", "b")
	for _, test := range []struct{ name, hint, pool string }{
		{"v", "", "a"}, {"w", "", "b"}, {"v", "b", "a"}, {"both", "b", "b"}, {"both", "", "a"}, {"w", "no-such", "b"},
	} {
		found, err := set.Find(test.name, test.hint)
		if err != nil || found.PoolName != test.pool || found.Name != test.name || found.Pool == nil {
			t.Errorf("Find(%q, %q) = %+v, %v", test.name, test.hint, found, err)
		}
	}
	if _, err := set.Find("x", "a"); !errors.Is(err, thinpool.ErrVolumeNotFound) {
		t.Errorf("in no pool: %v", err)
	}

	// A pool that is not open may have it; the one that the hint names is the one to speak of.
	set.Expect("c", nil)
	set.Expect("d", errors.New("disk is away"))
	if found, err := set.Find("v", "c"); err != nil || found.PoolName != "a" {
		t.Errorf("what is in an open pool is found: %v", err)
	}
	var notOpen *NotOpenError
	if _, err := set.Find("x", ""); !errors.As(err, &notOpen) || notOpen.Pool != "c" || errors.Is(err, thinpool.ErrVolumeNotFound) {
		t.Errorf("c may have it: %v", err)
	}
	if _, err := set.Find("x", "d"); !errors.As(err, &notOpen) || notOpen.Pool != "d" || notOpen.Cause == nil {
		t.Errorf("d should have it: %v", err)
	}
}

func TestFindDoesNotHideFailures(t *testing.T) {
	set := opens(map[string]*pool{"a": {volumeErr: thinpool.ErrPoolClosed}, "b": {}})
	mustOpen(t, set, "a", "b")
	if _, err := set.Find("v", ""); !errors.Is(err, thinpool.ErrPoolClosed) {
		t.Errorf("got %v", err)
	}
}

func TestOpen(t *testing.T) {
	there := map[string]*pool{}
	set := opens(there)
	if _, _, err := set.Open(t.Context(), thinpool.Config{Name: "a"}); !errors.Is(err, thinpool.ErrDeviceNotFound) {
		t.Fatal(err)
	}
	var notOpen *NotOpenError
	if _, err := set.Get("a"); !errors.As(err, &notOpen) || !errors.Is(notOpen.Cause, thinpool.ErrDeviceNotFound) || errors.Is(err, thinpool.ErrDeviceNotFound) {
		t.Errorf("Get: %v", err)
	}
	there["a"] = &pool{}
	if _, opened, err := set.Open(t.Context(), thinpool.Config{Name: "a"}); err != nil || !opened {
		t.Errorf("the device is there: %t, %v", opened, err)
	}
	if _, opened, err := set.Open(t.Context(), thinpool.Config{Name: "a", MinFreePercent: 5}); err != nil || opened || len(there["a"].reconfigured) != 1 {
		t.Errorf("an open pool is reconfigured: %t, %v, %v", opened, err, there["a"].reconfigured)
	}
	if config, ok := set.Config("a"); !ok || config.MinFreePercent != 5 {
		t.Errorf("its settings are %+v", config)
	}
	got, _, err := set.Open(t.Context(), thinpool.Config{Name: "a", BlockSize: 1})
	if !errors.Is(err, thinpool.ErrSourceChanged) || got == nil {
		t.Errorf("settings that cannot be applied: %v", err)
	}
	if config, _ := set.Config("a"); config.BlockSize != 0 {
		t.Error("settings that were refused are remembered")
	}
	if pool, err := set.Get("a"); err != nil || pool == nil {
		t.Errorf("it is not open any more: %v", err)
	}
	if err := set.Close(); err != nil || !there["a"].closed || len(set.Names()) != 0 {
		t.Errorf("Close: %v, %v", err, set.Names())
	}
}

func TestOpenOnceAtATime(t *testing.T) {
	var opening, opened, most atomic.Int32
	set := NewSet(func(context.Context, thinpool.Config) (Pool, error) {
		most.Store(max(most.Load(), opening.Add(1)))
		defer opening.Add(-1)
		opened.Add(1)
		return &pool{}, nil
	})
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() { _, _, _ = set.Open(context.Background(), thinpool.Config{Name: "a"}) })
	}
	wait.Wait()
	if most.Load() != 1 || opened.Load() != 1 {
		t.Errorf("opened %d times, %d at once", opened.Load(), most.Load())
	}
}

func TestShutdown(t *testing.T) {
	a := &pool{shutdownErr: thinpool.ErrVolumeInUse}
	set := opens(map[string]*pool{"a": a})
	mustOpen(t, set, "a")
	set.Expect("b", nil)
	if err := set.Shutdown(t.Context(), "a"); !errors.Is(err, thinpool.ErrVolumeInUse) {
		t.Errorf("got %v", err)
	}
	if _, err := set.Get("a"); err != nil {
		t.Errorf("a pool that could not be shut down is gone: %v", err)
	}
	a.shutdownErr = nil
	if err := errors.Join(set.Shutdown(t.Context(), "a"), set.Shutdown(t.Context(), "b"), set.Shutdown(t.Context(), "c")); err != nil {
		t.Error(err)
	}
	if names := set.Names(); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
}
