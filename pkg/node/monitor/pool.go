package monitor

import (
	"context"
	"errors"
	"fmt"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumehealth"
)

// Pool tells what is wrong with a pool. The error is pools.ErrNotOpen while the pool is being opened for the first time: nothing
// can be said then.
func (m *Monitor) Pool(ctx context.Context, name string) ([]volumehealth.Problem, error) {
	pool, err := m.pools.Get(name)
	if problems, ok := NotOpen(err); ok {
		return problems, nil
	}
	if err != nil {
		return nil, err
	}
	status, err := pool.Status(ctx)
	if err != nil {
		return nil, err
	}
	return OfPool(status), nil
}

// NotOpen tells what is wrong with volumes that are not found because a pool could not be opened.
func NotOpen(err error) ([]volumehealth.Problem, bool) {
	var notOpen *pools.NotOpenError
	if !errors.As(err, &notOpen) || notOpen.Cause == nil {
		return nil, false
	}
	return []volumehealth.Problem{OfNotOpen(notOpen)}, true
}

// OfNotOpen is the problem of a pool that could not be opened.
func OfNotOpen(err *pools.NotOpenError) volumehealth.Problem {
	reason := v1alpha1.ReasonPoolNotOpen
	if errors.Is(err.Cause, thinpool.ErrDeviceNotFound) {
		reason = v1alpha1.ReasonDeviceNotFound
	}
	return volumehealth.New(reason, err.Error())
}

// OfPool tells what is wrong with an open pool.
func OfPool(status thinpool.Status) []volumehealth.Problem {
	var problems []volumehealth.Problem
	add := func(reason, format string, arguments ...any) {
		problems = append(problems, volumehealth.New(reason, fmt.Sprintf(format, arguments...)))
	}
	switch status.Mode {
	case thinpool.ModeFailed:
		add(v1alpha1.ReasonPoolFailed, "%s", status.Fault)
	case thinpool.ModeReadOnly:
		add(v1alpha1.ReasonPoolReadOnly, "%s", status.Fault)
	}
	if status.DeviceFault != "" {
		add(v1alpha1.ReasonDeviceUnreadable, "%s", status.DeviceFault)
	}
	if status.NeedsCheck && status.Mode != thinpool.ModeFailed {
		add(v1alpha1.ReasonPoolNeedsCheck, "%s", status.Fault)
	}
	// A failed pool gives no figures.
	if status.Mode == thinpool.ModeOutOfDataSpace || status.Data.Total > 0 && status.Data.Free() <= 0 {
		add(v1alpha1.ReasonPoolOutOfDataSpace, "no data block of the pool is free: writes to new blocks fail or wait")
	}
	if status.Metadata.State == thinpool.SpaceFull {
		add(v1alpha1.ReasonPoolOutOfMetadataSpace, "the pool's metadata space is full: writes to new blocks fail")
	}
	return problems
}
