package pools

import (
	"errors"
	"fmt"
)

// ErrNotOpen reports that a pool which the node should have is not open, so that nothing can be said of its volumes.
var ErrNotOpen = errors.New("pool is not open")

// NotOpenError names the pool and why it is not open. It matches ErrNotOpen.
type NotOpenError struct {
	Pool string
	// Cause is what opening it ended with, or nil while that has not been tried to its end.
	Cause error
}

func (e *NotOpenError) Error() string {
	if e.Cause == nil {
		return fmt.Sprintf("pool %q is not open yet", e.Pool)
	}
	return fmt.Sprintf("pool %q is not open: %v", e.Pool, e.Cause)
}

// Is makes the error match ErrNotOpen. It does not unwrap to its cause: that an old attempt met, say, a missing device is
// no answer to the call in hand.
func (e *NotOpenError) Is(target error) bool { return target == ErrNotOpen }
