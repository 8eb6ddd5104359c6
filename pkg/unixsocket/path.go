package unixsocket

import (
	"fmt"
	"path/filepath"
)

// MaximumPath is the longest path of a socket in bytes: sun_path of sockaddr_un has 108 with the closing zero (unix(7)), and
// the name under which a socket is made first has one byte more.
const MaximumPath = 106

// CheckPath refuses a path that no socket can have.
func CheckPath(path string) error {
	switch {
	case !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/":
		return fmt.Errorf("socket %q is not allowed: must be an absolute path without empty, '.' or '..' parts", path)
	case len(path) > MaximumPath:
		return fmt.Errorf("socket %q is not allowed: the path has %d bytes, at most %d are possible", path, len(path), MaximumPath)
	}
	return nil
}
