package thinpool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestNameLocks(t *testing.T) {
	var locks nameLocks
	counts := make([]int, 4)
	var group sync.WaitGroup
	for i := range 400 {
		group.Add(1)
		go func() {
			defer group.Done()
			unlock, err := locks.lock(context.Background(), fmt.Sprint(i%len(counts)))
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			n := counts[i%len(counts)]
			time.Sleep(time.Microsecond)
			counts[i%len(counts)] = n + 1 // lost, and a race, if two hold the lock
		}()
	}
	group.Wait()
	for i, n := range counts {
		if n != 100 {
			t.Errorf("lock %d was held by %d, not 100", i, n)
		}
	}
	if len(locks.locks) != 0 {
		t.Errorf("%d locks are left", len(locks.locks))
	}
}

func TestNameLockHonoursContext(t *testing.T) {
	var locks nameLocks
	unlock, err := locks.lock(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := locks.lock(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if other, err := locks.lock(ctx, "b"); err == nil {
		other()
	}
	unlock()
	if len(locks.locks) != 0 {
		t.Errorf("%d locks are left", len(locks.locks))
	}
}
