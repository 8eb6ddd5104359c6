package thinpool

import (
	"sync"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// sharedStatus reads the pool's status for many who ask at once. Each gets what was read after it asked, so it may judge by it
// what it did before; but whoever asks while a reading is under way shares the next one with all who wait for it.
type sharedStatus struct {
	mutex sync.Mutex
	last  *statusReading // that has begun
	next  *statusReading // that has not
}

type statusReading struct {
	done   chan struct{}
	status devicemapper.ThinPoolStatus
	err    error
}

// read gives a status that is read after the call, by it or by another.
func (s *sharedStatus) read(get func() (devicemapper.ThinPoolStatus, error)) (devicemapper.ThinPoolStatus, error) {
	s.mutex.Lock()
	r, before := s.next, s.last
	joined := r != nil
	if !joined {
		r = &statusReading{done: make(chan struct{})}
		s.next = r
	}
	s.mutex.Unlock()
	if joined {
		<-r.done
		return r.status, r.err
	}
	if before != nil {
		<-before.done
	}
	s.mutex.Lock()
	s.last, s.next = r, nil
	s.mutex.Unlock()
	r.status, r.err = get()
	close(r.done)
	return r.status, r.err
}
