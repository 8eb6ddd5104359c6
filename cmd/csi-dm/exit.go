package main

import (
	"errors"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// Exit statuses, for scripts. docs/operations.md has them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2 // the command line is not one
	exitDamaged     = 3 // a check has found something, or a repair has left something
	exitInUse       = 4 // the pool or its volumes are in use
	exitNotAgreedTo = 5 // nobody said yes
)

var (
	errUsage       = errors.New("")
	errDamaged     = errors.New("")
	errNotAgreedTo = errors.New("")
)

// marked is an error with a mark that says which exit status it has. The mark is not printed.
type marked struct {
	error
	mark error
}

func (m marked) Is(target error) bool { return target == m.mark }

func (m marked) Unwrap() error { return m.error }

func exitStatus(err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, errDamaged):
		return exitDamaged
	case errors.Is(err, errNotAgreedTo), errors.Is(err, thinpool.ErrNotApproved):
		return exitNotAgreedTo
	case errors.Is(err, thinpool.ErrVolumeInUse), errors.Is(err, thinpool.ErrDeviceInUse):
		return exitInUse
	}
	return exitFailed
}
