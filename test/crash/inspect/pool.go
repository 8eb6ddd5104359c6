//go:build linux

package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/crash/history"
)

// deletionPatience is how long deletions may be pending that recovery has taken up.
const deletionPatience = 30 * time.Second

// Inspection is what a pool is judged by.
type Inspection struct {
	Devices *devicemapper.Client
	Pool    *thinpool.Pool
	// Directory to mount volumes below.
	Directory string
	// History of the pool up to its crash.
	History *history.History
	// RegistryThins is how many thin devices the registry takes: one in a pool that was handed over, else none.
	RegistryThins int
	// Tell is told which volumes were found, and which of those that need not be there were not. It may be nil.
	Tell func(history.Event)
}

// Result counts what was looked at.
type Result struct {
	Volumes int `json:"volumes"`
	Sectors int `json:"sectors"` // with data that a write of the test has made
}

// Run judges the pool. All that is wrong is in the error.
func (i Inspection) Run(ctx context.Context) (Result, error) {
	var result Result
	if err := errors.Join(i.drain(ctx), i.state(ctx)); err != nil {
		return result, err
	}
	if err := errors.Join(i.names(), i.thinIDs(ctx)); err != nil {
		return result, err
	}
	var all []error
	for _, v := range i.Pool.Volumes() {
		sectors, err := i.volume(ctx, v)
		if err != nil {
			all = append(all, fmt.Errorf("volume %s (thin id %d): %w", v.Name, v.ThinID, err))
		}
		result.Volumes++
		result.Sectors += sectors
	}
	return result, errors.Join(append(all, i.state(ctx))...)
}

// drain waits for deletions to end.
func (i Inspection) drain(ctx context.Context) error {
	for deadline := time.Now().Add(deletionPatience); ; time.Sleep(5 * time.Millisecond) {
		status, err := i.Pool.Status(ctx)
		if err != nil || status.PendingDeletions == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d deletions are still pending after %s", status.PendingDeletions, deletionPatience)
		}
	}
}

// state wants the pool whole.
func (i Inspection) state(ctx context.Context) error {
	status, err := i.Pool.Status(ctx)
	if err != nil {
		return err
	}
	if status.Mode != thinpool.ModeReadWrite || status.NeedsCheck || !status.Admitting {
		err = fmt.Errorf("pool is %s, needs check: %t, admitting: %t (%s)", status.Mode, status.NeedsCheck, status.Admitting, status.AdmissionReason)
	}
	if status.LostVolumes != 0 || status.UnknownThinDevices != 0 {
		err = errors.Join(err, fmt.Errorf("%d volumes are lost, %d thin devices unknown", status.LostVolumes, status.UnknownThinDevices))
	}
	return err
}

// names compares the volumes that are there with those that must, may and must not be.
func (i Inspection) names() error {
	var all []error
	there := map[string]bool{}
	for _, v := range i.Pool.Volumes() {
		there[v.Name] = true
		known := i.History.Volumes[v.Name]
		switch {
		case known == nil:
			all = append(all, fmt.Errorf("volume %s is there: it was never asked for, or its deletion was acknowledged", v.Name))
			continue
		case !slices.Contains(known.Sizes, v.Size):
			all = append(all, fmt.Errorf("volume %s has %d bytes, acknowledged or asked for were %d", v.Name, v.Size, known.Sizes))
		}
		i.tell(history.Event{Kind: history.Found, Stage: history.Done, Volume: v.Name, Size: v.Size})
	}
	for _, name := range slices.Sorted(maps.Keys(i.History.Volumes)) {
		switch {
		case there[name]:
		case i.History.Volumes[name].Must:
			all = append(all, fmt.Errorf("volume %s was acknowledged and is not there", name))
		default:
			i.tell(history.Event{Kind: history.Missing, Stage: history.Done, Volume: name})
		}
	}
	return errors.Join(all...)
}

func (i Inspection) tell(e history.Event) {
	if i.Tell != nil {
		i.Tell(e)
	}
}
