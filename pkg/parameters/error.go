package parameters

import "fmt"

// Error is a parameter that is not acceptable: which, its value, and what is allowed.
type Error struct {
	Key     string
	Value   string
	Allowed string
}

func (e *Error) Error() string {
	return fmt.Sprintf("parameter %s: %.64q is not allowed: %s", e.Key, e.Value, e.Allowed)
}

// UnknownKeyError is a key that no class, or no inline volume, of csi-dm has.
type UnknownKeyError struct {
	Key     string
	Allowed []string
}

func (e *UnknownKeyError) Error() string {
	if len(e.Allowed) == 0 {
		return fmt.Sprintf("parameter %.64q is unknown: none is allowed here", e.Key)
	}
	return fmt.Sprintf("parameter %.64q is unknown: allowed are %q", e.Key, e.Allowed)
}
