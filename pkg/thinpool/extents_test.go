package thinpool

import (
	"slices"
	"testing"
)

func TestCutExtents(t *testing.T) {
	extents := []extent{{0, 10}, {20, 5}, {30, 100}}
	for _, test := range []struct {
		length      int64
		first, rest []extent
	}{
		{4, []extent{{0, 4}}, []extent{{4, 6}, {20, 5}, {30, 100}}},
		{10, []extent{{0, 10}}, []extent{{20, 5}, {30, 100}}},
		{12, []extent{{0, 10}, {20, 2}}, []extent{{22, 3}, {30, 100}}},
		{115, extents, nil},
		{1000, extents, nil},
	} {
		if first, rest := cutExtents(slices.Clone(extents), test.length); !slices.Equal(first, test.first) || !slices.Equal(rest, test.rest) {
			t.Errorf("the first %d: %v and %v, want %v and %v", test.length, first, rest, test.first, test.rest)
		}
	}
}
