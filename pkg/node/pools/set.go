package pools

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// Set is the pools of a node. Its methods may be called concurrently.
type Set struct {
	open Opener

	mu      sync.RWMutex
	members map[string]*member
}

// member is a pool that the node should have.
type member struct {
	// changing is held while the pool is opened, reconfigured or shut down: one of these at a time.
	changing sync.Mutex

	// Under Set.mu.
	pool   Pool // nil: not open
	config thinpool.Config
	err    error
	wanted thinpool.Config // what it is, or was to be, opened with
	// reopened: Maintain has opened the pool, and no Open has told so yet.
	reopened bool
}

// NewSet makes an empty set whose pools are opened by open.
func NewSet(open Opener) *Set {
	return &Set{open: open, members: make(map[string]*member)}
}

// Expect says that the node should have the pool, before it is opened, and, where it is known already, why it cannot be.
func (s *Set) Expect(name string, cause error) {
	m := s.member(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if cause != nil {
		m.err = cause
	}
}

func (s *Set) member(name string) *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.members[name]
	if !ok {
		m = &member{}
		s.members[name] = m
	}
	return m
}

// Open opens the pool of config.Name, or applies the configuration to it if it is open. It tells whether it was opened by
// this call, or by Maintain since the last. What goes wrong is remembered as the reason for which the pool is not open.
// thinpool.ErrNotGrown says that the configuration is applied, but for space that it offers.
func (s *Set) Open(ctx context.Context, config thinpool.Config) (pool Pool, opened bool, err error) {
	m := s.member(config.Name)
	m.changing.Lock()
	defer m.changing.Unlock()
	if pool := s.poolOf(m); pool != nil {
		err := pool.Reconfigure(ctx, config)
		if err != nil && !errors.Is(err, thinpool.ErrNotGrown) {
			return pool, false, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		opened, m.reopened = m.reopened, false
		m.config, m.wanted = config, config
		return pool, opened, err
	}
	s.mu.Lock()
	m.wanted = config
	s.mu.Unlock()
	pool, err = s.open(ctx, config)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		m.err = err
		return nil, false, err
	}
	m.pool, m.config, m.err, m.reopened = pool, config, nil, false
	return pool, true, nil
}

func (s *Set) poolOf(m *member) Pool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return m.pool
}

// Get gives an open pool by name, or a *NotOpenError.
func (s *Set) Get(name string) (Pool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m, ok := s.members[name]
	if !ok || m.pool == nil {
		e := &NotOpenError{Pool: name}
		if ok {
			e.Cause = m.err
		}
		return nil, e
	}
	return m.pool, nil
}

// Config gives the settings that an open pool has.
func (s *Set) Config(name string) (thinpool.Config, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m, ok := s.members[name]
	if !ok || m.pool == nil {
		return thinpool.Config{}, false
	}
	return m.config, true
}

// Names are the pools that the node should have, open or not, in order.
func (s *Set) Names() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.members))
}

// Located is a volume and the pool that holds it.
type Located struct {
	thinpool.Volume
	PoolName string
	Pool     Pool
}

// Find looks a volume up in the pools' registries; hint, if not empty, names the pool to begin with. It gives
// thinpool.ErrVolumeNotFound if no pool has it, and a *NotOpenError if a pool that could have it is not open.
func (s *Set) Find(name, hint string) (Located, error) {
	s.mu.RLock()
	open := make(map[string]Pool, len(s.members))
	var missing *NotOpenError
	order := slices.Sorted(maps.Keys(s.members))
	for _, poolName := range order {
		m := s.members[poolName]
		if m.pool != nil {
			open[poolName] = m.pool
		} else if missing == nil || poolName == hint {
			missing = &NotOpenError{Pool: poolName, Cause: m.err}
		}
	}
	s.mu.RUnlock()

	for _, poolName := range append([]string{hint}, order...) {
		pool, ok := open[poolName]
		if !ok {
			continue
		}
		switch volume, err := pool.Volume(name); {
		case err == nil:
			return Located{Volume: volume, PoolName: poolName, Pool: pool}, nil
		case !errors.Is(err, thinpool.ErrVolumeNotFound):
			return Located{}, err
		}
	}
	if missing != nil {
		return Located{}, missing
	}
	return Located{}, &thinpool.Error{Op: "find", Pool: hint, Volume: name, Err: thinpool.ErrVolumeNotFound}
}

// Shutdown shuts an open pool down, its devices included, and forgets it. One that is not open is only forgotten.
func (s *Set) Shutdown(ctx context.Context, name string) error {
	m := s.member(name)
	m.changing.Lock()
	defer m.changing.Unlock()
	if pool := s.poolOf(m); pool != nil {
		if err := pool.Shutdown(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.pool = nil
	delete(s.members, name)
	return nil
}

// Close closes all pools and leaves their devices and volumes as they are. The set is empty afterwards.
func (s *Set) Close() error {
	var errs []error
	for _, name := range s.Names() {
		m := s.member(name)
		m.changing.Lock()
		if pool := s.poolOf(m); pool != nil {
			errs = append(errs, pool.Close())
		}
		s.mu.Lock()
		m.pool = nil
		delete(s.members, name)
		s.mu.Unlock()
		m.changing.Unlock()
	}
	return errors.Join(errs...)
}
