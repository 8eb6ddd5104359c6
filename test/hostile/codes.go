package hostile

import (
	"slices"

	"google.golang.org/grpc/codes"
)

// allowed are the codes that the CSI specification has for a call that fails: those for every call, and those of single ones
// (ALREADY_EXISTS, NOT_FOUND, OUT_OF_RANGE, RESOURCE_EXHAUSTED, FAILED_PRECONDITION), and those that gRPC itself has for a call that
// was given up or a service that is away. INTERNAL and UNKNOWN are not among them: they mean that the driver did not understand
// what it met.
var allowed = []codes.Code{
	codes.OK, codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.ResourceExhausted,
	codes.FailedPrecondition, codes.Aborted, codes.OutOfRange, codes.Unimplemented, codes.Unavailable, codes.DeadlineExceeded,
	codes.Canceled, codes.Unauthenticated,
}

// Allowed tells whether the specification has the code for an answer to a request, whatever is in it.
func Allowed(code codes.Code) bool { return slices.Contains(allowed, code) }
