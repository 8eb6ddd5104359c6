//go:build kernel

package bench

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// stopwatch takes the times at which an operation passes its failpoints, which lie between its steps.
type stopwatch struct {
	prefix     string // of the failpoints' names
	mutex      sync.Mutex
	began      time.Time
	last       time.Time
	lastFaults int64
	current    []lap
	order      []string
	laps       map[string]sample
	faults     map[string][]int64
}

type lap struct {
	name   string
	took   time.Duration
	faults int64 // page faults of the process
}

func newStopwatch(prefix string) *stopwatch {
	return &stopwatch{prefix: prefix, laps: map[string]sample{}, faults: map[string][]int64{}}
}

func (s *stopwatch) begin() {
	s.began, s.current, s.lastFaults = time.Now(), nil, pageFaults()
	s.last = s.began
	thinpool.SetFailpoint(func(name string) {
		if step, ours := strings.CutPrefix(name, s.prefix); ours {
			s.lap("until " + step)
		}
	})
}

func (s *stopwatch) lap(name string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	now, faults := time.Now(), pageFaults()
	s.current = append(s.current, lap{name, now.Sub(s.last), faults - s.lastFaults})
	s.last, s.lastFaults = now, faults
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
		s.faults[l.name] = append(s.faults[l.name], l.faults)
	}
}

// cell is the median of a step, and the longest, in milliseconds.
func (s *stopwatch) cell(name string) string {
	return milliseconds(s.laps[name].median()) + " / " + milliseconds(s.laps[name].quantile(1))
}

func (s *stopwatch) table(title string) *table {
	t := newTable(title, "p50 ms", "worst", "page faults")
	for _, name := range s.order {
		faults := slices.Sorted(slices.Values(s.faults[name]))
		t.row(name, milliseconds(s.laps[name].median()), milliseconds(s.laps[name].quantile(1)), strconv.FormatInt(faults[len(faults)/2], 10))
	}
	return t
}

// pageFaults counts those that the process has had.
func pageFaults() int64 {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		panic(err) // its arguments are right
	}
	return usage.Minflt + usage.Majflt
}

// faultCost is how long a page fault takes: the first write to a page of memory, the zeroing of the page included.
func faultCost(t testing.TB) time.Duration {
	t.Helper()
	const pages = 2048
	memory, err := unix.Mmap(-1, 0, pages*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	must(t, err)
	defer func() { must(t, unix.Munmap(memory)) }()
	began := time.Now()
	for at := 0; at < len(memory); at += os.Getpagesize() {
		memory[at] = 1
	}
	return time.Since(began) / pages
}
