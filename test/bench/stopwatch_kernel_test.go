//go:build kernel

package bench

import (
	"strings"
	"sync"
	"time"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// stopwatch takes the times at which an open passes the failpoints of recovery, which lie between its steps.
type stopwatch struct {
	mutex   sync.Mutex
	began   time.Time
	last    time.Time
	current []lap
	order   []string
	laps    map[string]sample
}

type lap struct {
	name string
	took time.Duration
}

func newStopwatch() *stopwatch { return &stopwatch{laps: map[string]sample{}} }

func (s *stopwatch) begin() {
	s.began, s.current = time.Now(), nil
	s.last = s.began
	thinpool.SetFailpoint(func(name string) {
		if step, ours := strings.CutPrefix(name, "recover: "); ours {
			s.lap("until " + step)
		}
	})
}

func (s *stopwatch) lap(name string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	now := time.Now()
	s.current = append(s.current, lap{name, now.Sub(s.last)})
	s.last = now
}

// end gives the time since begin.
func (s *stopwatch) end() time.Duration {
	s.lap("rest")
	thinpool.SetFailpoint(func(string) {})
	return s.last.Sub(s.began)
}

// keep counts what was taken last.
func (s *stopwatch) keep() {
	for _, l := range s.current {
		if s.laps[l.name] == nil {
			s.order = append(s.order, l.name)
		}
		s.laps[l.name] = append(s.laps[l.name], l.took)
	}
}

func (s *stopwatch) table() *table {
	t := newTable("part of an open", "p50 ms", "worst")
	for _, name := range s.order {
		t.row(name, milliseconds(s.laps[name].median()), milliseconds(s.laps[name].quantile(1)))
	}
	return t
}
