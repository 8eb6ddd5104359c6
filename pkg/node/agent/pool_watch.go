package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// poolInterval is how often a pool's state is looked at without an event: the kernel's low-water event comes once, and
// events alone have proved not to be enough in the field.
const poolInterval = 10 * time.Second

// watchers waits for the kernel's events of the open pools, one goroutine for each.
type watchers struct {
	lifetime context.Context
	notify   func(pool string)

	mu      sync.Mutex
	cancel  map[string]context.CancelFunc
	running sync.WaitGroup
}

func newWatchers(lifetime context.Context, notify func(pool string)) *watchers {
	return &watchers{lifetime: lifetime, notify: notify, cancel: make(map[string]context.CancelFunc)}
}

// start begins to watch a pool; one that is watched already is watched anew.
func (w *watchers) start(name string, pool pools.Pool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if cancel, ok := w.cancel[name]; ok {
		cancel()
	}
	ctx, cancel := context.WithCancel(w.lifetime)
	w.cancel[name] = cancel
	w.running.Go(func() {
		err := pool.Watch(ctx, poolInterval, func() { w.notify(name) })
		if ctx.Err() == nil && !errors.Is(err, thinpool.ErrPoolClosed) && !errors.Is(err, context.Canceled) {
			klog.FromContext(ctx).Error(err, "Watching the pool ended, its state is looked at by the timer only", "pool", name)
			w.tick(ctx, name)
		}
	})
}

// tick is what remains without events.
func (w *watchers) tick(ctx context.Context, name string) {
	ticker := time.NewTicker(poolInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			w.notify(name)
		case <-ctx.Done():
			return
		}
	}
}

func (w *watchers) stop(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if cancel, ok := w.cancel[name]; ok {
		cancel()
		delete(w.cancel, name)
	}
}

// wait returns when all have ended, which lifetime's end makes them.
func (w *watchers) wait() {
	w.running.Wait()
}
