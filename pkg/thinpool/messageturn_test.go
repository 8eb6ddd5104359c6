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
		turn.awaitDrained() // at once
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
		synctest.Wait()
		turn.awaitDrained()
		if waited := time.Since(began); waited != messagePatience {
			t.Errorf("waited for %s behind messages that were not sent, want %s", waited, messagePatience)
		}
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := turn.send(late, func() error { t.Error("sent"); return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		began = time.Now()
		var waiting sync.WaitGroup
		for range 2 {
			waiting.Go(turn.awaitDrained)
		}
		synctest.Wait()
		release <- struct{}{}
		release <- struct{}{}
		waiting.Wait() // for the last but one, and no longer
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited for %s with one message left", waited)
		}
		release <- struct{}{}
		group.Wait()
	})
}
