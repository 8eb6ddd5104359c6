package csi

import (
	"sync"
	"testing"
	"time"
)

func TestNotifier(t *testing.T) {
	n := newNotifier()
	first, cancelFirst := n.subscribe("volume/a", "node/x")
	second, cancelSecond := n.subscribe("volume/b", "node/x")
	expect := func(name string, signal <-chan struct{}, want bool) {
		t.Helper()
		select {
		case <-signal:
			if !want {
				t.Errorf("%s was signalled", name)
			}
		default:
			if want {
				t.Errorf("%s was not signalled", name)
			}
		}
	}
	n.notify("volume/a")
	n.notify("volume/a") // taken together with the first
	expect("first", first, true)
	expect("first, again", first, false)
	expect("second", second, false)
	n.notify("node/x")
	expect("first", first, true)
	expect("second", second, true)
	cancelFirst()
	n.notify("node/x")
	expect("first, cancelled", first, false)
	expect("second", second, true)
	cancelSecond()
	if len(n.waiting) != 0 {
		t.Errorf("left behind: %v", n.waiting)
	}
}

// TestNotifierLosesNothing: a change between a look and the wait that follows is not missed.
func TestNotifierLosesNothing(t *testing.T) {
	n := newNotifier()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 500 {
				signal, cancel := n.subscribe("key")
				done := make(chan struct{})
				go func() { defer close(done); n.notify("key") }()
				select {
				case <-signal:
				case <-time.After(5 * time.Second):
					t.Error("a notification was lost")
				}
				<-done
				cancel()
			}
		})
	}
	group.Wait()
}
