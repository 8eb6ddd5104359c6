package monitor

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// TestOfPool: each way in which a pool can be in trouble has its status and reason.
func TestOfPool(t *testing.T) {
	well := thinpool.Status{
		Mode: thinpool.ModeReadWrite,
		Data: thinpool.Space{Total: 100, Used: 10, State: thinpool.SpaceOK}, Metadata: thinpool.Space{Total: 100, Used: 10, State: thinpool.SpaceOK},
	}
	for name, c := range map[string]struct {
		change func(*thinpool.Status)
		want   []string
	}{
		"well": {func(*thinpool.Status) {}, nil},
		"critical": {func(s *thinpool.Status) {
			s.Data.State, s.Metadata.State = thinpool.SpaceCritical, thinpool.SpaceCritical
		}, nil},
		"failed": {func(s *thinpool.Status) {
			*s = thinpool.Status{Mode: thinpool.ModeFailed, NeedsCheck: true, Fault: "failed"}
		}, []string{"Inaccessible PoolFailed"}},
		"read-only":   {func(s *thinpool.Status) { s.Mode = thinpool.ModeReadOnly }, []string{"Degraded PoolReadOnly"}},
		"needs check": {func(s *thinpool.Status) { s.NeedsCheck = true }, []string{"Degraded PoolNeedsCheck"}},
		"out of data": {func(s *thinpool.Status) { s.Mode = thinpool.ModeOutOfDataSpace }, []string{"Degraded PoolOutOfDataSpace"}},
		"last block":  {func(s *thinpool.Status) { s.Data.Used = 100 }, []string{"Degraded PoolOutOfDataSpace"}},
		"metadata":    {func(s *thinpool.Status) { s.Metadata.State = thinpool.SpaceFull }, []string{"Degraded PoolOutOfMetadataSpace"}},
		"device":      {func(s *thinpool.Status) { s.DeviceFault = "the data on /dev/sdb cannot be read" }, []string{"Inaccessible DeviceUnreadable"}},
		"several":     {func(s *thinpool.Status) { s.Mode, s.NeedsCheck, s.DeviceFault = thinpool.ModeReadOnly, true, "x" }, []string{"Degraded PoolReadOnly", "Inaccessible DeviceUnreadable", "Degraded PoolNeedsCheck"}},
	} {
		status := well
		c.change(&status)
		var got []string
		for _, problem := range OfPool(status) {
			got = append(got, fmt.Sprint(problem.Status, " ", problem.Reason))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestOfNotOpen(t *testing.T) {
	for cause, want := range map[error]string{
		fmt.Errorf("open: %w", thinpool.ErrDeviceNotFound): "DeviceNotFound", errors.New("anything else"): "PoolNotOpen",
	} {
		problems, ok := NotOpen(&pools.NotOpenError{Pool: "fast", Cause: cause})
		if !ok || len(problems) != 1 || problems[0].Reason != want || problems[0].Status != "Inaccessible" {
			t.Errorf("%v: %+v", cause, problems)
		}
	}
	if _, ok := NotOpen(&pools.NotOpenError{Pool: "fast"}); ok {
		t.Error("a pool that is being opened is called abnormal")
	}
}
