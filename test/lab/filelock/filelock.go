// Package filelock keeps processes that share files from working on them at the same time.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// interval is how often a lock that is taken is tried again.
const interval = 100 * time.Millisecond

// Acquire takes the lock that the file stands for and waits, until ctx ends, for whoever has it. The file and its folder are
// made if they are missing; the file stays. The lock ends with release or with the process.
func Acquire(ctx context.Context, name string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	// Go opens files with O_CLOEXEC: a child that lives on does not keep the lock.
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), file.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for the lock %s: %w", name, context.Cause(ctx)), file.Close())
		case <-time.After(interval):
		}
	}
}
