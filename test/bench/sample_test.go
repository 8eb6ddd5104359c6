package bench

import (
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	hundred := make(sample, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i) // 100 … 1
	}
	for _, c := range []struct {
		sample sample
		q      float64
		want   time.Duration
	}{
		{nil, 0.5, 0},
		{sample{7}, 0, 7},
		{sample{7}, 0.99, 7},
		{sample{3, 1, 2}, 0.5, 2},
		{sample{4, 3, 2, 1}, 0.5, 2},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 1, 100},
	} {
		if got := c.sample.quantile(c.q); got != c.want {
			t.Errorf("quantile %g of %v: got %d, want %d", c.q, c.sample, got, c.want)
		}
	}
	if hundred[0] != 100 {
		t.Error("the sample was sorted in place")
	}
}

func TestRatio(t *testing.T) {
	if got := ratio(sample{3, 9, 1}, sample{2, 2, 2}, 0.5); got != 1.5 {
		t.Errorf("got %g, want 1.5", got)
	}
	if got := ratio(sample{1}, nil, 0.5); got != 0 {
		t.Errorf("got %g for no sample, want 0", got)
	}
}

func TestTable(t *testing.T) {
	table := newTable("what", "p50")
	table.row("create", milliseconds(1234*time.Microsecond))
	const want = "| what | p50 |\n|---|---|\n| create | 1.23 |\n"
	if got := table.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := milliseconds(123456 * time.Microsecond); got != "123" {
		t.Errorf("got %s, want 123", got)
	}
}

func TestMedianOfCounts(t *testing.T) {
	if got := (counts{9, 1, 5}).median(); got != 5 {
		t.Errorf("median of 9, 1, 5 is %d", got)
	}
}
