package volumeid

import (
	"fmt"
	"regexp"
)

const (
	// MaximumLength is the longest volume handle, in characters.
	MaximumLength = 96
	// MaximumPoolLength is the longest name of a pool, in characters.
	MaximumPoolLength = 40
)

// A DNS-1123 subdomain, as the name of an object is one: no empty part between two dots, so never "..".
var (
	idPattern   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	poolPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
)

// Error names a value that is no volume handle or no pool name.
type Error struct {
	Field   string
	Value   string
	Allowed string
}

// Error gives at most the first part of the value: it comes from outside and can have any length.
func (e *Error) Error() string {
	const longest = 64
	value := e.Value
	if len(value) > longest {
		value = value[:longest] + "…"
	}
	return fmt.Sprintf("%s %q is not allowed: %s", e.Field, value, e.Allowed)
}

// Check tells whether id can be a volume handle; if not, it gives an *Error that names the field.
func Check(field, id string) error {
	if len(id) > MaximumLength || !idPattern.MatchString(id) {
		return &Error{Field: field, Value: id, Allowed: "a volume has 1 to 96 lower-case letters, digits, '-' and '.', " +
			"beginning and ending with a letter or digit"}
	}
	return nil
}

// CheckPool does the same for the name of a pool.
func CheckPool(field, name string) error {
	if len(name) > MaximumPoolLength || !poolPattern.MatchString(name) {
		return &Error{Field: field, Value: name, Allowed: "a pool has 1 to 40 lower-case letters, digits and '-', " +
			"beginning and ending with a letter or digit"}
	}
	return nil
}
