//go:build e2e

package bench

import (
	"context"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// reached notes, on a watch, when each object came to a state for the first time.
type reached struct {
	mu    sync.Mutex
	at    map[string]time.Time
	grown chan struct{}
}

// observe watches a kind in a namespace until the test ends. done tells of an event whether its object has come so far.
func (r *clusterRun) observe(list client.ObjectList, done func(kind watch.EventType, object client.Object) bool, options ...client.ListOption) *reached {
	r.t.Helper()
	seen := &reached{at: map[string]time.Time{}, grown: make(chan struct{}, 1)}
	watcher, err := r.watcher.Watch(r.ctx, list, options...)
	noError(r.t, err)
	r.t.Cleanup(watcher.Stop)
	go func() {
		for event := range watcher.ResultChan() {
			if object, ok := event.Object.(client.Object); ok && done(event.Type, object) {
				seen.note(object.GetName())
			}
		}
	}()
	return seen
}

func (s *reached) note(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.at[name]; ok {
		return
	}
	s.at[name] = time.Now()
	select {
	case s.grown <- struct{}{}:
	default:
	}
}

// await waits until as many objects have come so far.
func (s *reached) await(ctx context.Context, t *testing.T, what string, count int) {
	t.Helper()
	for {
		s.mu.Lock()
		have := len(s.at)
		s.mu.Unlock()
		if have >= count {
			return
		}
		select {
		case <-s.grown:
		case <-ctx.Done():
			t.Fatalf("%d of %d %s: %v", have, count, what, ctx.Err())
		}
	}
}

// since are the times from the beginnings, by name, to what was noted.
func (s *reached) since(begun map[string]time.Time) sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	var took sample
	for name, begin := range begun {
		if at, ok := s.at[name]; ok {
			took = append(took, at.Sub(begin))
		}
	}
	return took
}

// usageWrites counts, on a watch, changes of ThinVolumes in which only the figures changed that the agent reports now and then.
type usageWrites struct {
	mu    sync.Mutex
	last  map[string]v1alpha1.ThinVolumeStatus
	count int
}

func (r *clusterRun) observeUsage() *usageWrites {
	u := &usageWrites{last: map[string]v1alpha1.ThinVolumeStatus{}}
	r.observe(&v1alpha1.ThinVolumeList{}, func(_ watch.EventType, object client.Object) bool {
		u.see(object.GetName(), object.(*v1alpha1.ThinVolume).Status)
		return false
	})
	return u
}

func (u *usageWrites) see(name string, now v1alpha1.ThinVolumeStatus) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before, known := u.last[name]
	u.last[name] = now
	if known && (changed(before.Allocated, now.Allocated) || changed(before.Exclusive, now.Exclusive)) {
		u.count++
	}
}

// sofar is how many there were.
func (u *usageWrites) sofar() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.count
}
