package csi

import (
	"context"
	"errors"
	"fmt"

	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// admit promises room for a volume on a node, until release is called, or refuses. The node's own admission is final; this
// one spares the object that would be refused there, and lets no two calls promise the same last room.
func (s *Service) admit(ctx context.Context, r *request, node, volume string) (release func(), err error) {
	return s.promise(ctx, part{r.pool, node}, func(assessment view.Assessment) (view.Assumed, error) {
		blockSize := assessment.Pool.BlockSize
		size := view.WholeBlocks(r.size.required, blockSize)
		if r.size.limit != 0 && size > r.size.limit {
			return nil, &rangeError{fieldError{"capacity_range.limit_bytes", r.size.limit,
				fmt.Sprintf("a volume in pool %q has whole blocks of %d bytes: at least %d", r.pool, blockSize, size)}}
		}
		if room := assessment.Room(); size > room.LargestVolume {
			return nil, &exhaustedError{fmt.Sprintf("capacity_range.required_bytes: \"%d\" is too much for pool %q on node %q: the largest volume that it can take has %d bytes%s",
				r.size.required, r.pool, node, room.LargestVolume, r.describeSource())}
		}
		return view.Assumed{volume: size}, nil
	})
}

// promise promises room in a pool's part until release is called. measure says to which thin devices how much, or refuses.
func (s *Service) promise(ctx context.Context, where part, measure func(view.Assessment) (view.Assumed, error)) (release func(), err error) {
	s.assumed.admission.Lock()
	defer s.assumed.admission.Unlock()
	assessment, err := s.view.Room(ctx, where.pool, where.node, s.assumed.of(where))
	var noPool *view.NoPoolError
	switch {
	case errors.As(err, &noPool):
		return nil, &exhaustedError{noPool.Error()}
	case err != nil:
		return nil, err
	case assessment.Obstacle != "":
		return nil, &exhaustedError{assessment.Obstacle}
	}
	sizes, err := measure(assessment)
	if err != nil {
		return nil, err
	}
	for device, size := range sizes {
		s.assumed.add(where, device, size)
	}
	return func() {
		for device := range sizes {
			s.assumed.remove(where, device)
		}
	}, nil
}
