package thinpool

import (
	"context"
	"sync/atomic"
	"time"
)

// messageTurn lets one message for a new thin device at a time to the kernel, which takes one after the other: threads that wait for
// their turn there cost more than goroutines that wait for it here. One for a snapshot whose source is held goes past the line. It also knows how many wait, and so when the next intents
// have to be durable: not before the kernel has nothing to do.
type messageTurn struct {
	turn    chan struct{} // holds a token while somebody has the turn
	inLine  atomic.Int32  // those who wait, and the one whose turn it is
	drained chan struct{}
}

func newMessageTurn() *messageTurn {
	return &messageTurn{turn: make(chan struct{}, 1), drained: make(chan struct{}, 1)}
}

// send waits for the turn and sends. If ctx ends first nothing is sent.
func (t *messageTurn) send(ctx context.Context, message func() error) error {
	t.inLine.Add(1)
	defer t.leave()
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-t.turn }()
	return message()
}

func (t *messageTurn) leave() {
	if t.inLine.Add(-1) <= 1 {
		select {
		case t.drained <- struct{}{}:
		default:
		}
	}
}

// awaitDrained waits until at most one message is left to send, but no longer than patience.
func (t *messageTurn) awaitDrained(patience time.Duration) {
	if t.inLine.Load() <= 1 {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for t.inLine.Load() > 1 {
		select {
		case <-t.drained:
		case <-timer.C:
			return
		}
	}
}
