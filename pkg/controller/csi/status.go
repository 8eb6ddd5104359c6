package csi

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/csi-dm/csi-dm/pkg/parameters"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// exhaustedError: the chosen node cannot make the volume, another one, or the same later, may. csi-provisioner gives the
// pod back to the scheduler.
type exhaustedError struct{ message string }

func (e *exhaustedError) Error() string { return e.message }

// existsError: the name belongs to a volume that is not what the request asks for.
type existsError struct{ message string }

func (e *existsError) Error() string { return e.message }

// notFoundError: what a request names does not exist.
type notFoundError struct{ message string }

func (e *notFoundError) Error() string { return e.message }

// preconditionError: what a request asks for cannot be done as things are, nothing was made, and nothing is under way.
type preconditionError struct{ message string }

func (e *preconditionError) Error() string { return e.message }

// asStatus is the one place where errors become codes. Everything that is not known is taken for trouble with the API
// server, which passes: UNAVAILABLE makes the caller repeat the call, and lets nobody conclude that nothing was made.
func asStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(code(err), err.Error())
}

func code(err error) codes.Code {
	var (
		field      *fieldError
		outOfRange *rangeError
		parameter  *parameters.Error
		unknownKey *parameters.UnknownKeyError
		id         *volumeid.Error
		exhausted  *exhaustedError
		exists     *existsError
		refused    *refusedError
		token      *tokenError
		notFound   *notFoundError
		premature  *preconditionError
	)
	switch {
	case errors.As(err, &outOfRange):
		return codes.OutOfRange
	case errors.As(err, &token):
		return codes.Aborted
	case errors.As(err, &field), errors.As(err, &parameter), errors.As(err, &unknownKey), errors.As(err, &id), errors.As(err, &refused):
		return codes.InvalidArgument
	case errors.As(err, &exhausted):
		return codes.ResourceExhausted
	case errors.As(err, &notFound):
		return codes.NotFound
	case errors.As(err, &premature):
		return codes.FailedPrecondition
	case errors.As(err, &exists):
		return codes.AlreadyExists
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		// What the API server's validation of a ThinVolume refuses came with the request.
		return codes.InvalidArgument
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return codes.Internal
	}
	return codes.Unavailable
}
