package pools

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// reopenLimit bounds the opening of a pool after a repair.
const reopenLimit = time.Minute

// ErrUnknown reports a pool that the node should not have, or whose settings are not known yet.
var ErrUnknown = errors.New("pool is not known")

// errMaintained is why a pool is not open while it is repaired.
var errMaintained = errors.New("it is being repaired")

// Check examines a pool, as it is while it is open, or by offline with the settings that it could not be opened with.
func (s *Set) Check(ctx context.Context, name string, offline func(ctx context.Context, config thinpool.Config) (thinpool.CheckReport, error)) (thinpool.CheckReport, error) {
	m, err := s.known(name)
	if err != nil {
		return thinpool.CheckReport{}, err
	}
	if pool := s.poolOf(m); pool != nil {
		return pool.Check(ctx)
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	if pool := s.poolOf(m); pool != nil { // meanwhile
		return pool.Check(ctx)
	}
	return offline(ctx, s.wanted(m))
}

// Maintain shuts a pool down, if it is open, has do work on it, and opens it again, whatever became of it. It fails with
// thinpool.ErrVolumeInUse, and nothing is done, while a volume of the pool is active. The error is do's, or that of the opening.
func (s *Set) Maintain(ctx context.Context, name string, do func(ctx context.Context, config thinpool.Config) error) error {
	m, err := s.known(name)
	if err != nil {
		return err
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	if pool := s.poolOf(m); pool != nil {
		switch err := pool.Shutdown(ctx); {
		case errors.Is(err, thinpool.ErrVolumeInUse):
			return err
		case err != nil:
			// It is closed. What it could not do any more is what the work is about.
			klog.FromContext(ctx).Error(err, "Shutting a pool down for a repair", "pool", name)
		}
	}
	s.mu.Lock()
	m.pool, m.err = nil, errMaintained
	s.mu.Unlock()
	err = do(ctx, s.wanted(m))
	// The admin may have gone; the node's pods have not.
	opening, cancel := context.WithTimeout(context.WithoutCancel(ctx), reopenLimit)
	defer cancel()
	pool, openErr := s.open(opening, s.wanted(m))
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.err = openErr; openErr == nil {
		m.pool, m.config, m.reopened = pool, m.wanted, true
	}
	return errors.Join(err, openErr)
}

// Grow takes into use what an open pool's source offers beyond the pool.
func (s *Set) Grow(ctx context.Context, name string) error {
	m, err := s.known(name)
	if err != nil {
		return err
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	pool, err := s.Get(name)
	if err != nil {
		return err
	}
	return pool.Grow(ctx)
}

// known gives a pool that has been opened, or that was tried.
func (s *Set) known(name string) (*member, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if m, ok := s.members[name]; ok && m.wanted.Name != "" {
		return m, nil
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknown, name)
}

func (s *Set) wanted(m *member) thinpool.Config {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return m.wanted
}
