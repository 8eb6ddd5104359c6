package agent

import (
	"context"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// Waits between two attempts at a pool that could not be opened, while its object has not been seen.
const (
	firstOpening = time.Second
	lastOpening  = 30 * time.Second
)

// OpenRemembered opens the pools that the node had when it was last told, without the API server. It returns when each has
// been tried once, or when ctx ends; it goes on trying until lifetime ends or the objects are seen, whose reconcile then
// does so. Run waits for what is still under way.
func (a *Agent) OpenRemembered(ctx, lifetime context.Context) {
	logger := klog.FromContext(lifetime)
	var tried sync.WaitGroup
	seen, stop := context.WithCancel(lifetime)
	a.opening.Go(func() {
		defer stop()
		a.manager.GetCache().WaitForCacheSync(lifetime)
	})
	for _, name := range a.remembered.names() {
		a.config.Pools.Expect(name, nil)
		tried.Add(1)
		a.opening.Go(func() {
			err := a.openRemembered(lifetime, name)
			tried.Done()
			for wait := firstOpening; err != nil; wait = min(2*wait, lastOpening) {
				logger.Error(err, "Pool that the node had cannot be opened", "pool", name, "retry", wait)
				select {
				case <-time.After(wait):
				case <-seen.Done():
					return
				}
				err = a.openRemembered(lifetime, name)
			}
		})
	}
	done := make(chan struct{})
	go func() { tried.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (a *Agent) openRemembered(ctx context.Context, name string) error {
	settings, ok := a.remembered.get(name)
	if !ok {
		return nil // forgotten meanwhile
	}
	config, err := a.pools.directories.config(name, settings)
	if err != nil {
		return err
	}
	if err := unsettled(a.pools.open(ctx, config)); err != nil {
		return err
	}
	a.pools.queue.add(v1alpha1.NodeThinPoolName(name, a.config.NodeName))
	return nil
}
