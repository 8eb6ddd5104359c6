package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"time"

	"golang.org/x/sys/unix"
)

// requestLimit bounds a question to the agent.
const requestLimit = 10 * time.Second

// Client asks the agent. The zero value is not usable.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient makes a client of the agent at a socket.
func NewClient(socket string) *Client {
	return &Client{socket: socket, http: &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			},
		},
	}}
}

// Pools gives all pools of the node; ErrNotRunning if there is no agent.
func (c *Client) Pools(ctx context.Context) ([]PoolInfo, error) {
	var infos []PoolInfo
	err := c.get(ctx, poolsPath, requestLimit, &infos)
	return infos, err
}

// Volumes gives the volumes of all open pools; ErrNotRunning if there is no agent.
func (c *Client) Volumes(ctx context.Context) ([]VolumeInfo, error) {
	var infos []VolumeInfo
	err := c.get(ctx, volumesPath, requestLimit, &infos)
	return infos, err
}

func (c *Client) get(ctx context.Context, path string, limit time.Duration, into any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// The host in the address means nothing on a unix socket.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent"+path, nil)
	if err != nil {
		return err
	}
	response, err := c.do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the node agent: %s %s: %s", http.MethodGet, path, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("ask the node agent: %w", err)
	}
	return nil
}

// do sends a request and says what is wrong where no agent takes it.
func (c *Client) do(request *http.Request) (*http.Response, error) {
	response, err := c.http.Do(request)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return nil, fmt.Errorf("%w: nothing answers at %s", ErrNotRunning, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s may only be opened by root: %w", c.socket, fs.ErrPermission)
	case err != nil:
		return nil, fmt.Errorf("ask the node agent: %w", err)
	}
	return response, nil
}
