package csi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/csi-dm/csi-dm/pkg/confinedpath"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

func TestCode(t *testing.T) {
	engine := func(err error) error { return &thinpool.Error{Op: "activate", Pool: "p", Volume: "v", Err: err} }
	for _, test := range []struct {
		err  error
		code codes.Code
	}{
		{nil, codes.OK},
		{engine(thinpool.ErrVolumeNotFound), codes.NotFound},
		{engine(fmt.Errorf("more: %w", thinpool.ErrVolumeInUse)), codes.FailedPrecondition},
		{engine(thinpool.ErrPoolFailed), codes.Unavailable},
		{engine(thinpool.ErrPoolClosed), codes.Unavailable},
		{engine(thinpool.ErrNoSpace), codes.ResourceExhausted},
		{engine(thinpool.ErrRegistryFull), codes.ResourceExhausted},
		{engine(thinpool.ErrSnapshotBudget), codes.ResourceExhausted},
		{engine(thinpool.ErrThinIDs), codes.ResourceExhausted},
		{engine(thinpool.ErrVolumeExists), codes.AlreadyExists},
		{engine(thinpool.ErrShrink), codes.OutOfRange},
		{engine(thinpool.ErrSourceNotFound), codes.NotFound},
		{engine(thinpool.ErrPoolDamaged), codes.Internal},
		{engine(&thinpool.FieldError{Field: "size"}), codes.InvalidArgument},
		{engine(context.DeadlineExceeded), codes.DeadlineExceeded},
		{engine(context.Canceled), codes.Canceled},
		{engine(unix.EIO), codes.Internal},
		{&pools.NotOpenError{Pool: "p", Cause: thinpool.ErrVolumeNotFound}, codes.Unavailable},
		{volumeid.Check("volume_id", "../x"), codes.InvalidArgument},
		{inField("target_path", &confinedpath.Error{Path: "/", Reason: "no"}), codes.InvalidArgument},
		{inField("target_path", &confinedpath.Error{Path: "/", Err: unix.EIO}), codes.Internal},
		{inField("target_path", &filesystem.MountError{Op: "umount", Err: unix.EBUSY}), codes.Internal},
		{inDirectory("staging_target_path", &confinedpath.Error{Path: "/x", Err: os.ErrNotExist}), codes.FailedPrecondition},
		{inField("mount_flags", fmt.Errorf("%w: x", filesystem.ErrMountOption)), codes.InvalidArgument},
		{badField("volume_capability", "missing"), codes.InvalidArgument},
		{labelsDiffer("a:b:c:s0:c1,c2", "a:b:c:s0:c1,c3"), codes.AlreadyExists},
		{labelsDiffer("", "a:b:c:s0:c1,c3"), codes.AlreadyExists},
		{labelsDiffer("a:b:c:s0:c1,c2", "a:b:c:s0:c2,c1"), codes.OK},
		{errInFlight, codes.Aborted},
		{errors.Join(fmt.Errorf("mount: %w", unix.EUCLEAN), nil), codes.Internal},
		{errors.New("anything"), codes.Internal},
	} {
		if got := Code(test.err); got != test.code {
			t.Errorf("%v becomes %v, want %v", test.err, got, test.code)
		}
	}
}

func TestInFlight(t *testing.T) {
	var flights inFlight
	end, err := flights.begin("v", "stage")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := flights.begin("v", "unstage"); Code(err) != codes.Aborted {
		t.Errorf("a second operation on the volume: %v", err)
	}
	other, err := flights.begin("w", "stage")
	if err != nil {
		t.Errorf("another volume: %v", err)
	}
	other()
	end()
	end, err = flights.begin("v", "unstage")
	if err != nil {
		t.Errorf("after the end: %v", err)
	}
	end()
	if len(flights.volumes) != 0 {
		t.Errorf("left: %v", flights.volumes)
	}
}
