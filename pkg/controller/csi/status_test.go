package csi

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/csi-dm/csi-dm/pkg/parameters"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// TestAsStatus: only what is certain gets a code that lets csi-provisioner conclude that nothing was made.
func TestAsStatus(t *testing.T) {
	resource := schema.GroupResource{Resource: "thinvolumes"}
	for _, c := range []struct {
		err  error
		want codes.Code
	}{
		{nil, codes.OK},
		{&fieldError{"name", "", "x"}, codes.InvalidArgument},
		{&rangeError{fieldError{"size", 1, "x"}}, codes.OutOfRange},
		{&parameters.Error{}, codes.InvalidArgument},
		{&parameters.UnknownKeyError{}, codes.InvalidArgument},
		{&volumeid.Error{}, codes.InvalidArgument},
		{&refusedError{"x"}, codes.InvalidArgument},
		{fmt.Errorf("wrapped: %w", &exhaustedError{"x"}), codes.ResourceExhausted},
		{&existsError{"x"}, codes.AlreadyExists},
		{&inUseError{"x"}, codes.Unavailable},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{context.Canceled, codes.Canceled},
		{apierrors.NewInvalid(schema.GroupKind{}, "x", nil), codes.InvalidArgument},
		{apierrors.NewForbidden(resource, "x", errors.New("x")), codes.Internal},
		{apierrors.NewServiceUnavailable("x"), codes.Unavailable},
		{apierrors.NewConflict(resource, "x", errors.New("x")), codes.Unavailable},
		{apierrors.NewTooManyRequests("x", 1), codes.Unavailable},
		{errors.New("connection refused"), codes.Unavailable},
		{status.Error(codes.FailedPrecondition, "x"), codes.FailedPrecondition},
	} {
		if got := status.Code(asStatus(c.err)); got != c.want {
			t.Errorf("%T %v became %s, want %s", c.err, c.err, got, c.want)
		}
	}
}
