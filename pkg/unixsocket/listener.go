package unixsocket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// Listener is a listening unix socket at a path.
type Listener struct {
	net.Listener
	path string
	made os.FileInfo
}

// Path is the socket's absolute path.
func (l *Listener) Path() string { return l.path }

// Listen makes a unix socket that only root can connect to. It is made under a dot name and renamed: whoever watches the
// directory sees it once it listens, and a socket that was left behind is replaced without a gap. Anything else than a
// socket is left alone. A missing directory is made.
func Listen(ctx context.Context, path string) (*Listener, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("directory of socket: %w", err)
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("socket %s: a file that is no socket is in the way (%s)", path, info.Mode().Type())
	}

	hidden := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.Remove(hidden); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("socket: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", hidden)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	// The name that the listener knows is gone by the time it is closed.
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	made, err := publish(hidden, path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("socket: %w", err), listener.Close(), os.Remove(hidden))
	}
	return &Listener{Listener: listener, path: path, made: made}, nil
}

func publish(hidden, path string) (os.FileInfo, error) {
	if err := os.Chmod(hidden, 0o600); err != nil {
		return nil, err
	}
	made, err := os.Lstat(hidden)
	if err != nil {
		return nil, err
	}
	return made, os.Rename(hidden, path)
}

// Present tells whether the socket is still at its path: it may have been removed, or replaced by a process after this one.
func (l *Listener) Present() bool {
	info, err := os.Lstat(l.path)
	return err == nil && sameInode(info, l.made)
}

// Withdraw removes the socket's name, unless it is another's by now. Connections that exist are not touched.
func (l *Listener) Withdraw() error {
	if !l.Present() {
		return nil
	}
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("socket: %w", err)
	}
	return nil
}

// sameInode also compares the time of the last change: on a tmpfs the number of a removed inode can come back.
func sameInode(a, b os.FileInfo) bool {
	first, second := a.Sys().(*syscall.Stat_t), b.Sys().(*syscall.Stat_t)
	return first.Dev == second.Dev && first.Ino == second.Ino && a.ModTime().Equal(b.ModTime())
}
