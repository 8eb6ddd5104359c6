package thinpool

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"k8s.io/klog/v2"
)

// A deletion that failed is tried again after firstRetry, then after twice as long each time, up to lastRetry.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// deletion is a thin device that is gone for its owner and whose blocks the pool does not have back yet. It is as durable
// as its intent. Fields behind thin, size, intent and volume are guarded by Pool.mutex.
type deletion struct {
	thin   uint32
	size   int64  // bytes
	intent uint64 // its number in the registry
	volume string // that it was; empty for a base

	mapped   int64 // bytes of the pool's data that it held when that was last looked at; 0 if never
	taken    bool  // somebody is at it
	failures int
	due      time.Time // when it is tried next; zero: now
}

// result are the writes that end the deletion in the registry.
func (d *deletion) result() []write {
	end := []write{{bucketIntents, intentKey(d.intent), nil}}
	if d.volume == "" {
		end = append(end, write{bucketBases, thinIDKey(d.thin), nil})
	}
	return end
}

// startDeletions starts the goroutine that gives back the blocks of what is deleted, one thin device after the other. It
// ends with the pool's life, between two slices.
func (p *Pool) startDeletions(ctx context.Context) {
	p.work.Add(1)
	go func() {
		defer p.work.Done()
		p.runDeletions(klog.NewContext(p.life, klog.FromContext(ctx))) //nolint:contextcheck // lives as long as the pool
	}()
}

func (p *Pool) runDeletions(ctx context.Context) {
	for ctx.Err() == nil {
		d, wait := p.nextDeletion(time.Now())
		if d == nil {
			p.awaitDeletion(ctx, wait)
			continue
		}
		err := p.finishDeletion(ctx, d)
		p.mutex.Lock()
		d.taken = false
		p.mutex.Unlock()
		if err != nil && ctx.Err() == nil {
			delay := p.postpone(d, err)
			klog.FromContext(ctx).Error(err, "Giving back the blocks of a deleted thin device failed", "pool", p.label.PoolName, "volume", d.volume, "thinID", d.thin, "retryIn", delay)
		}
	}
}

// nextDeletion takes the deletion that is due for longest. If there is none, wait says when there will be; 0 means that
// nothing is known to come.
func (p *Pool) nextDeletion(now time.Time) (next *deletion, wait time.Duration) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, thin := range slices.Sorted(maps.Keys(p.deletions)) {
		if d := p.deletions[thin]; !d.taken && (next == nil || d.due.Before(next.due)) {
			next = d
		}
	}
	if next == nil {
		return nil, 0
	}
	if wait = next.due.Sub(now); wait > 0 {
		return nil, wait
	}
	next.taken = true
	return next, 0
}

// awaitDeletion returns when there may be something to do.
func (p *Pool) awaitDeletion(ctx context.Context, wait time.Duration) {
	var due <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-p.deletionAdded:
	case <-due:
	case <-ctx.Done():
	}
}

// postpone sets when a deletion that failed is tried again. What failed for the pool's sake would fail for all others as
// well: they wait, too.
func (p *Pool) postpone(d *deletion, err error) (delay time.Duration) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delay = min(firstRetry<<min(d.failures, 10), lastRetry)
	d.failures++
	d.due = time.Now().Add(delay)
	if errors.Is(err, ErrPoolFailed) {
		for _, other := range p.deletions {
			if other.due.Before(d.due) {
				other.due = d.due
			}
		}
	}
	return delay
}

// addDeletion puts a deletion into memory whose intent is durable. The caller goes on with it if taken is set; the
// goroutine does if not.
func (p *Pool) addDeletion(d *deletion) {
	p.mutex.Lock()
	p.deletions[d.thin] = d
	p.mutex.Unlock()
	if !d.taken {
		p.leaveDeletion(d)
	}
}

// leaveDeletion leaves a deletion that was taken to the goroutine.
func (p *Pool) leaveDeletion(d *deletion) {
	p.mutex.Lock()
	d.taken = false
	p.mutex.Unlock()
	select {
	case p.deletionAdded <- struct{}{}:
	default:
	}
}

// finishDeletion gives the blocks back and has the registry forget the deletion with its next commit.
func (p *Pool) finishDeletion(ctx context.Context, d *deletion) error {
	if err := p.giveBack(ctx, d, false); err != nil {
		return err
	}
	p.endDeletion(d)
	return nil
}

// endDeletion forgets a deletion whose thin device is gone.
func (p *Pool) endDeletion(d *deletion) {
	p.registry.committer.ride(d.result()...)
	p.mutex.Lock()
	delete(p.deletions, d.thin)
	p.mutex.Unlock()
	reached(failDeleteDone)
}

// pendingBytes is what the deletions still hold of the pool's data, in bytes; blocks that they share count in full. The
// mutex must be held.
func (p *Pool) pendingBytes() int64 {
	var total int64
	for _, d := range p.deletions {
		total += d.mapped
	}
	return total
}
