//go:build linux

// Package load works on a pool as its users do, many at once and at random, and tells each step: volumes are made, written
// to and synced, snapshots are taken of volumes while they are written to, volumes grow while mounted and are deleted.
package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/crash/history"
)

// Chunks is how many chunks of a volume the load writes.
const Chunks = 4 * history.ChunksPerFile

// Load describes a load.
type Load struct {
	Pool *thinpool.Pool
	// Directory to mount volumes below.
	Directory string
	// Seed of all that is random. What happens at what moment depends on the machine, too.
	Seed uint64
	// Round tells apart the loads on one pool: names and versions begin with it.
	Round int
	// Workers work at a time, each on up to Volumes volumes of its own.
	Workers, Volumes int
	// Tell is told all events, from several goroutines. Nothing goes on before it returns.
	Tell func(history.Event)
}

// Run works until ctx ends, or until something fails, and takes all volumes out of use then. Volumes that are there already
// are worked on, too.
func (l Load) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var versions atomic.Uint64
	versions.Store(uint64(l.Round+1) << 32)
	workers := make([]*worker, l.Workers)
	for i := range workers {
		workers[i] = &worker{Load: l, number: i, random: rand.New(rand.NewPCG(l.Seed, uint64(l.Round)<<16|uint64(i))), versions: &versions}
	}
	for i, v := range l.Pool.Volumes() {
		w := workers[i%len(workers)]
		w.volumes = append(w.volumes, &volume{name: v.Name, raw: v.Format.Type == "", xfs: v.Format.Type == filesystem.XFS, size: v.Size})
	}
	failures := make(chan error, len(workers))
	for _, w := range workers {
		go func() {
			err := w.run(ctx)
			if err != nil {
				err = fmt.Errorf("worker %d: %w", w.number, err)
				cancel(err) // the others end
			}
			failures <- err
		}()
	}
	var all []error
	for range workers {
		all = append(all, <-failures)
	}
	return errors.Join(all...)
}
