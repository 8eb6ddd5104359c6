package thinpool

import (
	"context"
	"sync"
)

// nameLocks is a lock per name. Those that nobody holds or waits for take no memory.
type nameLocks struct {
	mutex sync.Mutex
	locks map[string]*nameLock
}

type nameLock struct {
	held  chan struct{} // has room for the one who holds it
	users int           // who hold or wait
}

// lock waits for the lock on a name, or for ctx. unlock must be called once.
func (n *nameLocks) lock(ctx context.Context, name string) (unlock func(), err error) {
	n.mutex.Lock()
	if n.locks == nil {
		n.locks = map[string]*nameLock{}
	}
	l := n.locks[name]
	if l == nil {
		l = &nameLock{held: make(chan struct{}, 1)}
		n.locks[name] = l
	}
	l.users++
	n.mutex.Unlock()

	select {
	case l.held <- struct{}{}:
		return func() { <-l.held; n.forget(name, l) }, nil
	case <-ctx.Done():
		n.forget(name, l)
		return nil, context.Cause(ctx)
	}
}

func (n *nameLocks) forget(name string, l *nameLock) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if l.users--; l.users == 0 {
		delete(n.locks, name)
	}
}
