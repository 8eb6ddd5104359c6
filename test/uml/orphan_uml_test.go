//go:build uml

package uml

import (
	"errors"
	"testing"
	"time"
)

// A guest whose starter was killed must be able to notice.
func TestConsoleEndsWithItsStarter(t *testing.T) {
	guest, _ := boot(t, bootLimit, "orphan", nil)
	await(t, guest, "testinit: waiting")
	if err := guest.input.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-guest.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("still there")
	}
	if err := guest.Wait(); err != nil && !errors.Is(err, ErrCrashed) {
		t.Error(err)
	}
}
