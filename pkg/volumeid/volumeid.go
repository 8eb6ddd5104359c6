package volumeid

import (
	"fmt"
	"regexp"
	"strings"
)

const (
	// MaximumLength is the longest volume handle, in characters.
	MaximumLength = 96
	// MaximumPoolLength is the longest name of a pool, in characters.
	MaximumPoolLength = 40
	// MaximumSnapshotLength is the longest snapshot handle, in characters.
	MaximumSnapshotLength = 80
)

// snapshotSuffix ends the names that snapshots have in their pool. No volume handle ends so.
const snapshotSuffix = ".snapshot"

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
	if len(id) > MaximumLength || !idPattern.MatchString(id) || strings.HasSuffix(id, snapshotSuffix) {
		return &Error{Field: field, Value: id, Allowed: "a volume has 1 to 96 lower-case letters, digits, '-' and '.', " +
			"beginning and ending with a letter or digit, and not ending with " + snapshotSuffix}
	}
	return nil
}

// CheckSnapshot does the same for a snapshot handle.
func CheckSnapshot(field, id string) error {
	if len(id) > MaximumSnapshotLength || !idPattern.MatchString(id) {
		return &Error{Field: field, Value: id, Allowed: "a snapshot has 1 to 80 lower-case letters, digits, '-' and '.', " +
			"beginning and ending with a letter or digit"}
	}
	return nil
}

// SnapshotDevice is the name that a snapshot's thin device has in its pool, where volumes and snapshots stand side by side. No
// volume handle is like it, so neither can be taken, or deleted, for the other.
func SnapshotDevice(id string) string { return id + snapshotSuffix }

// CheckPool does the same for the name of a pool.
func CheckPool(field, name string) error {
	if len(name) > MaximumPoolLength || !poolPattern.MatchString(name) {
		return &Error{Field: field, Value: name, Allowed: "a pool has 1 to 40 lower-case letters, digits and '-', " +
			"beginning and ending with a letter or digit"}
	}
	return nil
}
