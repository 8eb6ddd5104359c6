package csi

import (
	"context"
	"errors"
	"fmt"
	"os"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/csi-dm/csi-dm/pkg/confinedpath"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/monitor"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// What this package finds wrong by itself, each with the code that it becomes.
var (
	errInFlight       = errors.New("an operation on the volume is under way")
	errNotStaged      = errors.New("volume is not staged")
	errOtherMount     = errors.New("something else is mounted")
	errDiffers        = errors.New("published already, in another way")
	errInUseElsewhere = errors.New("volume is published elsewhere")
	// errStagedOtherwise: a label that all mounts of a file system share.
	errStagedOtherwise = errors.New("volume is staged already, in another way")
	errNotFormatted    = monitor.ErrFileSystemMissing
	errNotMounted      = errors.New("volume is not mounted")
	errOtherSize       = errors.New("the volume does not have such a size")
	errNoDirectory     = errors.New("directory does not exist")
	errInline          = errors.New("volume is a pod's inline volume, which is published where it is and nowhere else")
)

// codeOf lists what each error becomes; the first match counts. What is not here is Internal.
//
// Kubelet takes Aborted, Unavailable, ResourceExhausted and the two of the context as "may still be under way" and unstages
// before it gives up; anything else is final for that attempt.
var codeOf = []struct {
	err  error
	code codes.Code
}{
	{context.DeadlineExceeded, codes.DeadlineExceeded},
	{context.Canceled, codes.Canceled},

	{confinedpath.ErrNotAllowed, codes.InvalidArgument},
	{filesystem.ErrMountOption, codes.InvalidArgument},
	{thinpool.ErrInvalid, codes.InvalidArgument},

	{thinpool.ErrVolumeNotFound, codes.NotFound},
	{errNotMounted, codes.NotFound},

	{thinpool.ErrVolumeExists, codes.AlreadyExists},
	{errDiffers, codes.AlreadyExists},
	{errStagedOtherwise, codes.AlreadyExists},

	{thinpool.ErrShrink, codes.OutOfRange},
	{errOtherSize, codes.OutOfRange},

	{thinpool.ErrVolumeInUse, codes.FailedPrecondition},
	{errNotStaged, codes.FailedPrecondition},
	{errNoDirectory, codes.FailedPrecondition},
	{errOtherMount, codes.FailedPrecondition},
	{errInUseElsewhere, codes.FailedPrecondition},
	{errInline, codes.FailedPrecondition},

	{errInFlight, codes.Aborted},

	{pools.ErrNotOpen, codes.Unavailable},
	{thinpool.ErrPoolClosed, codes.Unavailable},
	{thinpool.ErrPoolFailed, codes.Unavailable},

	{thinpool.ErrNoSpace, codes.ResourceExhausted},
	{thinpool.ErrSnapshotBudget, codes.ResourceExhausted},
	{thinpool.ErrThinIDs, codes.ResourceExhausted},
	{thinpool.ErrRegistryFull, codes.ResourceExhausted},
}

// Code is the gRPC code for an error of the engine, of the paths or of this package.
func Code(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	var name *volumeid.Error
	if errors.As(err, &name) {
		return codes.InvalidArgument
	}
	var field *fieldError
	if errors.As(err, &field) && field.bad {
		return codes.InvalidArgument
	}
	for _, entry := range codeOf {
		if errors.Is(err, entry.err) {
			return entry.code
		}
	}
	return codes.Internal
}

// answer turns an error into the one that is sent.
func answer(err error) error {
	if err == nil {
		return nil
	}
	return status.Error(Code(err), err.Error())
}

// fieldError names the field of a request that an error is about.
type fieldError struct {
	field string
	err   error
	// bad: the field's value is not acceptable, whatever the error is.
	bad bool
}

func (e *fieldError) Error() string { return e.field + ": " + e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

// inField adds the field's name to an error that keeps its code.
func inField(field string, err error) error {
	if err == nil {
		return nil
	}
	return &fieldError{field: field, err: err}
}

// badField refuses a field's value.
func badField(field, format string, arguments ...any) error {
	return &fieldError{field: field, err: fmt.Errorf(format, arguments...), bad: true}
}

// inDirectory is inField for a directory that kubelet should have made.
func inDirectory(field string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w: %w", errNoDirectory, err)
	}
	return inField(field, err)
}
