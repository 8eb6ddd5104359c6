package confinedpath

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNotAllowed is what every refusal of a path matches, as opposed to a failure on the way.
var ErrNotAllowed = errors.New("path is not allowed")

// Error says why a path is refused (it matches ErrNotAllowed), or what the kernel said to it (it unwraps to the errno).
type Error struct {
	Path string
	// Reason is set if the path is refused.
	Reason string
	// Err is set if the kernel failed.
	Err error
}

// longestInMessage is how much of a path goes into a message, in bytes: it comes from outside.
const longestInMessage = 300

func (e *Error) Error() string {
	path := e.Path
	if len(path) > longestInMessage {
		path = path[:longestInMessage] + "…"
	}
	if e.Reason != "" {
		return fmt.Sprintf("path %q is not allowed: %s", path, e.Reason)
	}
	return fmt.Sprintf("path %q: %v", path, e.Err)
}

// Is makes a refusal match ErrNotAllowed.
func (e *Error) Is(target error) bool { return target == ErrNotAllowed && e.Reason != "" }

func (e *Error) Unwrap() error { return e.Err }

// relative checks path as text and gives it as seen from directory. The directory itself is not below itself.
func relative(directory, path string) (string, error) {
	refuse := func(reason string) (string, error) { return "", &Error{Path: path, Reason: reason} }
	switch {
	case path == "":
		return refuse("it is empty")
	case len(path) >= unix.PathMax:
		return refuse(fmt.Sprintf("it has %d bytes, at most %d are possible", len(path), unix.PathMax-1))
	case slices.ContainsFunc(strings.Split(path, "/"), func(part string) bool { return len(part) > unix.NAME_MAX }):
		return refuse(fmt.Sprintf("it has a part of more than %d bytes", unix.NAME_MAX))
	case strings.ContainsRune(path, 0):
		return refuse("it has a NUL byte")
	case !filepath.IsAbs(path):
		return refuse("it is not absolute")
	case filepath.Clean(path) != path:
		return refuse("it has empty, '.' or '..' parts")
	}
	below, found := strings.CutPrefix(path, strings.TrimSuffix(directory, "/")+"/")
	if !found || below == "" {
		return refuse("it must be below " + directory)
	}
	return below, nil
}
