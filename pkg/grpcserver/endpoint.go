package grpcserver

import (
	"fmt"
	"strings"

	"github.com/csi-dm/csi-dm/pkg/unixsocket"
)

// ParseEndpoint gives the socket's path of an endpoint: unix:///absolute/path or the path itself.
func ParseEndpoint(endpoint string) (string, error) {
	path := strings.TrimPrefix(endpoint, "unix://")
	if err := unixsocket.CheckPath(path); err != nil {
		return "", fmt.Errorf("endpoint %q: %w", endpoint, err)
	}
	return path, nil
}
