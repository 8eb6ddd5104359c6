package thinpool

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ctx := newPacer(), context.Background()
		began := time.Now()
		var at []time.Duration
		for range 3 {
			took, err := p.do(ctx, func() error { at = append(at, time.Since(began)); time.Sleep(10 * time.Millisecond); return nil })
			if err != nil || took != 10*time.Millisecond {
				t.Errorf("%s, %v", took, err)
			}
		}
		for i, when := range at {
			if want := time.Duration(i) * 20 * time.Millisecond; when != want {
				t.Errorf("step %d began at %s, want %s", i, when, want)
			}
		}
		// Who leaves while waiting leaves the turn to others.
		left, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if _, err := p.do(left, func() error { t.Error("a step ran for a caller that had left"); return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := p.do(ctx, func() error { return errLarge }); !errors.Is(err, errLarge) {
			t.Error(err)
		}
	})
}

func TestNextSlice(t *testing.T) {
	const block = 64 << 10
	for _, test := range []struct {
		blocks int64
		took   time.Duration
		want   int64
	}{
		{1024, time.Millisecond, 1024},
		{1024, 8 * time.Millisecond, 1024},
		{1024, 9 * time.Millisecond, 512},
		{128, 2 * time.Millisecond, 128},
		{128, 1999 * time.Microsecond, 256},
		{512, time.Millisecond, 1024},
		{33, time.Second, 32},
		{32, time.Hour, 32},
	} {
		if got := nextSlice(test.blocks*block, test.took, block); got != test.want*block {
			t.Errorf("after %d blocks in %s: %d blocks, want %d", test.blocks, test.took, got/block, test.want)
		}
	}
}
