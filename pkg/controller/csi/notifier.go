package csi

import "sync"

// notifier wakes calls that wait for an object. A key names what changed; what it changed to, the caches tell.
type notifier struct {
	mu      sync.Mutex
	waiting map[string]map[chan struct{}]struct{}
}

func newNotifier() *notifier {
	return &notifier{waiting: map[string]map[chan struct{}]struct{}{}}
}

// subscribe returns a channel that holds a signal after any of the keys changed: one signal, however many changes. The
// caller must call cancel.
func (n *notifier) subscribe(keys ...string) (changed <-chan struct{}, cancel func()) {
	signal := make(chan struct{}, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, key := range keys {
		if n.waiting[key] == nil {
			n.waiting[key] = map[chan struct{}]struct{}{}
		}
		n.waiting[key][signal] = struct{}{}
	}
	return signal, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, key := range keys {
			delete(n.waiting[key], signal)
			if len(n.waiting[key]) == 0 {
				delete(n.waiting, key)
			}
		}
	}
}

// notify signals all subscribers of a key.
func (n *notifier) notify(key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for signal := range n.waiting[key] {
		select {
		case signal <- struct{}{}:
		default: // a signal is waiting already
		}
	}
}
