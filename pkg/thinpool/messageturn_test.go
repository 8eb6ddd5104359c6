package thinpool

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestMessageTurn: messages go one at a time, and whoever waits for the line to drain waits until the last but one was sent.
func TestMessageTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn := newMessageTurn()
		turn.awaitDrained(time.Hour) // at once
		failure := errors.New("failure")
		began := time.Now()
		release := make(chan struct{})
		sending := 0
		var group sync.WaitGroup
		send := func() {
			err := turn.send(t.Context(), func() error {
				sending++
				if sending != 1 {
					t.Errorf("%d messages at a time", sending)
				}
				<-release
				sending--
				return failure
			})
			if !errors.Is(err, failure) {
				t.Error(err)
			}
		}
		for range 3 {
			group.Go(send)
		}
		time.Sleep(time.Second)
		turn.awaitDrained(time.Second)
		if waited := time.Since(began); waited != 2*time.Second {
			t.Errorf("waited for %s behind messages that were not sent, want 2s", waited)
		}
		drained := make(chan struct{})
		go func() { turn.awaitDrained(time.Hour); close(drained) }()
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := turn.send(late, func() error { t.Error("sent"); return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		for i := range 3 {
			select {
			case <-drained:
				if i < 2 {
					t.Errorf("drained after %d of 3", i)
				}
			case <-time.After(time.Second):
				if i >= 2 {
					t.Error("not drained with one message left")
				}
			}
			release <- struct{}{}
		}
		group.Wait()
		if waited := time.Since(began); waited > time.Minute {
			t.Errorf("took %s", waited)
		}
	})
}
