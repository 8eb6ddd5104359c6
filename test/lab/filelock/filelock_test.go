package filelock

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

func TestAcquire(t *testing.T) {
	name := filepath.Join(t.TempDir(), "folder", "lock")
	release, err := Acquire(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Acquire(short, name); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a lock that is taken: %v", err)
	}
	acquired := make(chan error, 1)
	go func() {
		second, err := Acquire(t.Context(), name)
		if err == nil {
			second()
		}
		acquired <- err
	}()
	select {
	case err := <-acquired:
		t.Fatalf("a second process got the lock: %v", err)
	case <-time.After(3 * interval):
	}
	release()
	if err := <-acquired; err != nil {
		t.Errorf("after the release: %v", err)
	}
}
