package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

// lockRetry is how often a lock that another process holds is tried.
const lockRetry = 200 * time.Millisecond

// lockNode makes this process the only agent of the node: a pod that was deleted by force can still run beside its
// successor, and a pool has one owner. It waits for the other until ctx ends. The kernel frees the lock with the process.
func lockNode(ctx context.Context, runDirectory string) (*os.File, error) {
	path := filepath.Join(runDirectory, "agent.lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for said := false; ; {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
		}
		if !said {
			klog.FromContext(ctx).Info("Another agent runs on this node, waiting for its end", "lock", path)
			said = true
		}
		select {
		case <-time.After(lockRetry):
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %s: another agent holds it: %w", path, ctx.Err()), file.Close())
		}
	}
}
