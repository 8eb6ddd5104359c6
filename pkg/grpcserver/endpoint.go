package grpcserver

import (
	"fmt"
	"path/filepath"
	"strings"
)

// maximumSocketPath is the longest path of a unix socket in bytes: sun_path of sockaddr_un has 108 with the closing zero
// (unix(7)). The name under which a socket is made first has one byte more.
const maximumSocketPath = 106

// ParseEndpoint gives the socket's path of an endpoint: unix:///absolute/path or the path itself.
func ParseEndpoint(endpoint string) (string, error) {
	path := strings.TrimPrefix(endpoint, "unix://")
	switch {
	case !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/":
		return "", fmt.Errorf("endpoint %q is not allowed: must be unix:// and an absolute path", endpoint)
	case len(path) > maximumSocketPath:
		return "", fmt.Errorf("endpoint %q is not allowed: the path has %d bytes, at most %d are possible", endpoint, len(path), maximumSocketPath)
	}
	return path, nil
}
