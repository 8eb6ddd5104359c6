package trim

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

func TestJittered(t *testing.T) {
	const interval = time.Hour
	shortest, longest := interval, interval
	for range 10_000 {
		next := jittered(interval)
		shortest, longest = min(shortest, next), max(longest, next)
	}
	if shortest < interval*3/4 || longest > interval*5/4 || longest-shortest < interval*2/5 {
		t.Errorf("from %s to %s", shortest, longest)
	}
}

func TestNextSlice(t *testing.T) {
	for _, c := range []struct {
		length int64
		took   time.Duration
		want   int64
	}{
		{firstSlice, slowSlice + 1, firstSlice / 2},
		{smallestSlice, time.Minute, smallestSlice},
		{firstSlice, slowSlice, firstSlice},
		{firstSlice, 0, 2 * firstSlice},
		{largestSlice, 0, largestSlice},
	} {
		if got := nextSlice(c.length, c.took); got != c.want {
			t.Errorf("%d bytes that took %s are followed by %d, want %d", c.length, c.took, got, c.want)
		}
	}
}

func TestOutcomes(t *testing.T) {
	wrapped := func(err error) error { return &thinpool.Error{Op: "trim", Pool: "p", Err: fmt.Errorf("%w: more", err)} }
	for want, errs := range map[string][]error{
		outcomeTrimmed:    {nil},
		outcomeNotMounted: {errNotMounted, errors.Join(errNotMounted, unix.EROFS), wrapped(thinpool.ErrVolumeInactive), wrapped(thinpool.ErrVolumeNotFound)},
		outcomeShared:     {wrapped(thinpool.ErrTrimShared)},
		outcomeBusy:       {wrapped(thinpool.ErrTrimBusy)},
		outcomeFailed:     {unix.EIO},
	} {
		for _, err := range errs {
			if got := outcomeOf(err); got != want {
				t.Errorf("%v: %s, want %s", err, got, want)
			}
		}
	}
}
