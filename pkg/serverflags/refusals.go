package serverflags

import (
	"errors"
	"fmt"
)

// Refusals are what is wrong with flags. The zero value is ready for use, by one goroutine.
type Refusals struct{ errs []error }

// Add names the flag without its dashes, its value, and what is allowed.
func (r *Refusals) Add(flag string, value any, allowed string) {
	r.errs = append(r.errs, fmt.Errorf("--%s: %q is not allowed: %s", flag, fmt.Sprint(value), allowed))
}

// AddError is Add for an error that has value and what is allowed.
func (r *Refusals) AddError(flag string, err error) {
	r.errs = append(r.errs, fmt.Errorf("--%s: %w", flag, err))
}

// Err joins them; nil if there are none.
func (r *Refusals) Err() error { return errors.Join(r.errs...) }
