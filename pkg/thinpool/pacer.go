package thinpool

import (
	"context"
	"time"
)

// pacer lets one step at a time through, and after each lets as much time pass as it took. So whatever is given back, by
// however many, the pool's volumes have it to themselves for half of the time.
type pacer struct {
	turn chan struct{} // holds a token while nobody has the turn
	next time.Time     // when the next step may begin; belongs to who has the turn
}

func newPacer() *pacer {
	p := &pacer{turn: make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p
}

// do runs a step when it is its turn, unless ctx ends before, and says how long it took. The pause behind it is the next
// one's to wait for.
func (p *pacer) do(ctx context.Context, step func() error) (took time.Duration, err error) {
	select {
	case <-p.turn:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	defer func() { p.turn <- struct{}{} }()
	if wait := time.Until(p.next); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	began := time.Now()
	err = step()
	took = time.Since(began)
	p.next = began.Add(2 * took)
	return took, err
}
