package node

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestOneAgentAtATime(t *testing.T) {
	directory := t.TempDir()
	first, err := lockNode(t.Context(), directory)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lockNode(short, directory); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("two agents at once: %v", err)
	}
	waited := make(chan error, 1)
	go func() {
		second, err := lockNode(context.Background(), directory)
		if err == nil {
			err = second.Close()
		}
		waited <- err
	}()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-waited:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the second one waits for ever")
	}
}
