package thinpool

import (
	"context"
	"sync"
	"time"
)

// messagePatience is how long what many requests could share waits for messages that the kernel has to take first.
const messagePatience = 20 * time.Millisecond

// messageTurn lets one message for a new thin device at a time to the kernel, which takes one after the other: threads that wait for
// their turn there cost more than goroutines that wait for it here. One for a snapshot whose source is held goes past the line. It also knows how many wait, and so when the next intents
// have to be durable, and when one reading of the pool's status serves the most: not before the kernel has nothing to do.
type messageTurn struct {
	turn chan struct{} // holds a token while somebody has the turn

	mutex   sync.Mutex
	inLine  int           // those who wait, and the one whose turn it is
	drained chan struct{} // closed when at most one is left
}

func newMessageTurn() *messageTurn {
	return &messageTurn{turn: make(chan struct{}, 1), drained: make(chan struct{})}
}

// send waits for the turn and sends. If ctx ends first nothing is sent.
func (t *messageTurn) send(ctx context.Context, message func() error) error {
	t.enter()
	defer t.leave()
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-t.turn }()
	return message()
}

func (t *messageTurn) enter() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.inLine++
}

func (t *messageTurn) leave() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.inLine--
	if t.inLine <= 1 {
		close(t.drained)
		t.drained = make(chan struct{})
	}
}

// awaitDrained waits until at most one message is left to send, but no longer than messagePatience.
func (t *messageTurn) awaitDrained() {
	t.mutex.Lock()
	inLine, drained := t.inLine, t.drained
	t.mutex.Unlock()
	if inLine <= 1 {
		return
	}
	timer := time.NewTimer(messagePatience)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
	}
}
