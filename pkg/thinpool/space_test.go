package thinpool

import (
	"testing"
)

// TestSpaceStateBegins: where the states begin, in thousandths of free space.
func TestSpaceStateBegins(t *testing.T) {
	for _, test := range []struct {
		percent       int
		low, critical uint64
	}{{0, 20, 10}, {1, 20, 10}, {5, 100, 50}, {10, 200, 100}, {20, 300, 200}, {50, 600, 500}, {90, 950, 900}, {99, 995, 990}} {
		low, critical := SpaceLow.begins(test.percent), SpaceCritical.begins(test.percent)
		if low != test.low || critical != test.critical || SpaceFull.begins(test.percent) != 0 {
			t.Errorf("%d%%: low at %d, critical at %d, want %d and %d", test.percent, low, critical, test.low, test.critical)
		}
	}
}

// TestSpaceStateNext walks through the states at minFreeSpace 10%: low at 20%, critical at 10%, each left 2 points later.
func TestSpaceStateNext(t *testing.T) {
	for _, test := range []struct {
		before SpaceState
		free   uint64 // of 1,000
		full   bool
		want   SpaceState
	}{
		{"", 1000, false, SpaceOK},
		{"", 200, false, SpaceLow},
		{"", 100, false, SpaceCritical},
		{"", 0, false, SpaceFull},
		{SpaceOK, 201, false, SpaceOK},
		{SpaceOK, 200, false, SpaceLow},
		{SpaceOK, 5, false, SpaceCritical},
		{SpaceOK, 500, true, SpaceFull},
		{SpaceLow, 220, false, SpaceLow},
		{SpaceLow, 221, false, SpaceOK},
		{SpaceLow, 101, false, SpaceLow},
		{SpaceLow, 100, false, SpaceCritical},
		{SpaceCritical, 120, false, SpaceCritical},
		{SpaceCritical, 121, false, SpaceLow},
		{SpaceCritical, 210, false, SpaceLow},
		{SpaceCritical, 221, false, SpaceOK},
		{SpaceCritical, 0, false, SpaceFull},
		{SpaceFull, 20, false, SpaceFull},
		{SpaceFull, 21, false, SpaceCritical},
		{SpaceFull, 115, false, SpaceCritical},
		{SpaceFull, 130, false, SpaceLow},
		{SpaceFull, 900, false, SpaceOK},
		{SpaceFull, 900, true, SpaceFull},
	} {
		if got := test.before.next(test.free, 1000, test.full, 10); got != test.want {
			t.Errorf("from %q with %d free, full %t: %q, want %q", test.before, test.free, test.full, got, test.want)
		}
	}
	if got := SpaceFull.next(0, 0, false, 10); got != "" {
		t.Errorf("a pool that gives no figures is %q", got)
	}
}

// TestSpaceStateDoesNotFlap: free space that moves by a point or less changes no state more than once.
func TestSpaceStateDoesNotFlap(t *testing.T) {
	const total = 100_000
	for percent := range 96 {
		for free := uint64(0); free <= total-total/100; free += total / 200 {
			state, changes := SpaceState(""), 0
			for i := range 10 {
				now := state.next(free+uint64(i%2)*total/100, total, false, percent)
				if state != "" && now != state {
					changes++
				}
				state = now
			}
			if changes > 1 {
				t.Fatalf("at minFreeSpace %d%% with %d of %d free the state changed %d times", percent, free, total, changes)
			}
		}
	}
}

// TestSpaceStateNeverBetterThanAdmission: what admits nothing is critical at the least, with the largest pools, too.
func TestSpaceStateNeverBetterThanAdmission(t *testing.T) {
	for _, total := range []uint64{16, 1000, 1 << 40, 1<<51 - 1} {
		for percent := range 100 {
			for _, free := range []uint64{0, total * uint64(percent) / 100, total * uint64(percent) / 100 / 2} {
				if got := SpaceState("").next(free, total, false, percent); got.severity() < SpaceCritical.severity() {
					t.Errorf("%d of %d free at minFreeSpace %d%%: %s", free, total, percent, got)
				}
			}
		}
	}
}
