//go:build kernel

package waiting

import (
	"testing"
	"time"
)

// TestWaiting outlasts the test binary's own timeout.
func TestWaiting(t *testing.T) { time.Sleep(time.Hour) }
