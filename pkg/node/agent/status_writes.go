package agent

import (
	"sync"
	"time"
)

// minorInterval is how often a change that nobody decides anything by is written.
const minorInterval = 30 * time.Second

// statusWrites knows when each object's status was written last.
type statusWrites struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// due tells how long a minor change has still to wait.
func (w *statusWrites) due(name string, now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, ok := w.last[name]
	if !ok {
		return 0
	}
	return max(0, last.Add(minorInterval).Sub(now))
}

func (w *statusWrites) done(name string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.last = make(map[string]time.Time)
	}
	w.last[name] = now
}

// forget makes the next change of the object due.
func (w *statusWrites) forget(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.last, name)
}
