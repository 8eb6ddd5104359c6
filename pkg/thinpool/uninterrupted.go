package thinpool

import (
	"context"
	"sync"
	"time"
)

// uninterrupted runs do to its end, also when ctx ends first: what has been taken from somebody, such as a volume's I/O, must
// be given back whoever still waits. do gets a context of its own with a limit. A caller whose ctx ended gets its error, and
// with a repetition the outcome.
func uninterrupted[T any](ctx context.Context, work *sync.WaitGroup, limit time.Duration, do func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	work.Add(1)
	go func() {
		defer work.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		value, err := do(ctx)
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
