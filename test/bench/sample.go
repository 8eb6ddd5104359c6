package bench

import (
	"slices"
	"time"
)

// sample is a series of durations of one thing.
type sample = series[time.Duration]

// counts is a series of how many of something there were.
type counts = series[int]

type series[T time.Duration | int] []T

// quantile is the smallest value that at least the share q (0 to 1) of the series does not exceed (nearest rank). An empty
// series has none: 0.
func (s series[T]) quantile(q float64) T {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := int(q * float64(len(s)))
	if float64(rank) < q*float64(len(s)) {
		rank++
	}
	return sorted[min(max(rank, 1), len(s))-1]
}

func (s series[T]) median() T { return s.quantile(0.5) }

// ratio of the quantiles of two samples, 0 where the second has none.
func ratio(one, other sample, q float64) float64 {
	if other.quantile(q) == 0 {
		return 0
	}
	return float64(one.quantile(q)) / float64(other.quantile(q))
}
