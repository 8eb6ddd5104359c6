package runner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const (
	workspacePrefix = "csi-dm-kernel-test-"
	lockName        = "lock"
)

// NewWorkspace makes a directory below parent for one run, and removes those of runs that were killed. Its owner holds a
// lock in it as long as it lives, and calls remove.
func NewWorkspace(parent string) (directory string, remove func() error, err error) {
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", nil, err
	}
	removeAbandoned(parent)
	directory, err = os.MkdirTemp(parent, workspacePrefix)
	if err != nil {
		return "", nil, err
	}
	// It gets its name once it is held, else another run could take the workspace for abandoned before.
	unnamed := filepath.Join(directory, lockName+".new")
	lock, err := os.OpenFile(unnamed, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err == nil {
		err = os.Rename(unnamed, filepath.Join(directory, lockName))
	}
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("workspace: %w", err), lock.Close(), os.RemoveAll(directory))
	}
	return directory, func() error { return errors.Join(os.RemoveAll(directory), lock.Close()) }, nil
}

// removeAbandoned removes workspaces whose lock nobody holds. One without a lock file is just being made, or removed.
func removeAbandoned(parent string) {
	locks, _ := filepath.Glob(filepath.Join(parent, workspacePrefix+"*", lockName)) // the pattern is well-formed
	for _, path := range locks {
		lock, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(filepath.Dir(path))
		}
		_ = lock.Close()
	}
}
