package csi

import (
	"sync"
	"time"
)

// missingMounts are the inline volumes whose mount's directory was missing when they were looked at, and since when.
type missingMounts struct {
	mutex sync.Mutex
	seen  map[string]time.Time
}

// since notes that a volume's is missing, and tells for how long it is.
func (m *missingMounts) since(volume string, now time.Time) time.Duration {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.seen == nil {
		m.seen = map[string]time.Time{}
	}
	if _, known := m.seen[volume]; !known {
		m.seen[volume] = now
	}
	return now.Sub(m.seen[volume])
}

// found notes that a volume's is there, or that kubelet asks for the volume, or that the volume is gone.
func (m *missingMounts) found(volume string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	delete(m.seen, volume)
}
