package thinpool

import (
	"context"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// SpaceState says how near the data space, or the metadata space, of a pool is to its end.
type SpaceState string

// The states, in the order in which things get worse. The share of free space at which a state begins follows from
// minFreeSpace; metadata that the kernel keeps in reserve counts neither as free nor as a part of the whole.
//
//	Low        twice minFreeSpace, or minFreeSpace + 10 points if that is less: time to grow the pool or to clear up
//	Critical   minFreeSpace, at least 1%: no new volume is admitted
//	Full       nothing: writes to new blocks fail or wait
//
// A state is left for a better one only 2 points above the share at which it begins, so that it does not flap. (Above 96%,
// where there is no room for 2 points, half of what is left.) Admission does not wait for that: it goes by the figures
// of the moment.
const (
	SpaceOK       SpaceState = "OK"
	SpaceLow      SpaceState = "Low"
	SpaceCritical SpaceState = "Critical"
	SpaceFull     SpaceState = "Full"
)

// SpaceStates are all of them, the best first.
var SpaceStates = []SpaceState{SpaceOK, SpaceLow, SpaceCritical, SpaceFull}

// Shares of free space are counted in thousandths of the whole.
const (
	wholeSpace         = 1000
	leastCritical      = 10
	mostAboveCritical  = 100
	spaceHysteresis    = 20
	thousandthsPercent = 10
)

// severity orders the states; a state that is not known is as good as SpaceOK.
func (s SpaceState) severity() int {
	for i, state := range SpaceStates {
		if s == state {
			return i
		}
	}
	return 0
}

// begins is the share of free space, in thousandths, at which a state begins: at that or less.
func (s SpaceState) begins(minFreePercent int) uint64 {
	critical := max(leastCritical, uint64(minFreePercent)*thousandthsPercent)
	switch s {
	case SpaceLow:
		return critical + min(critical, mostAboveCritical, (wholeSpace-critical)/2)
	case SpaceCritical:
		return critical
	case SpaceFull:
		return 0
	}
	return wholeSpace
}

// next is the state that follows on before, with free of total units. Without a total there is nothing to say.
func (s SpaceState) next(free, total uint64, full bool, minFreePercent int) SpaceState {
	if total == 0 {
		return ""
	}
	if full {
		free = 0
	}
	// Neither product overflows: a block device has less than 2^63 bytes, which is less than 2^51 blocks of either kind.
	within := func(share uint64) bool { return free*wholeSpace <= total*share }
	now := SpaceOK
	for _, state := range SpaceStates[1:] {
		if within(state.begins(minFreePercent)) {
			now = state
		}
	}
	for _, state := range []SpaceState{SpaceFull, SpaceCritical, SpaceLow} {
		if state.severity() > s.severity() || state.severity() <= now.severity() {
			continue
		}
		begins := state.begins(minFreePercent)
		if within(begins + min(spaceHysteresis, (wholeSpace-begins)/2)) {
			return state
		}
	}
	return now
}

// spaceStates is what the pool said last of its data and metadata space.
type spaceStates struct{ data, metadata SpaceState }

// nextSpace takes the pool's spaces to their states of this moment. The mutex must be held.
func (p *Pool) nextSpace(status devicemapper.ThinPoolStatus) spaceStates {
	percent := p.config.MinFreePercent
	p.space.data = p.space.data.next(p.freeData(status), uint64(status.TotalData), status.Mode == devicemapper.PoolModeOutOfDataSpace, percent)
	p.space.metadata = p.space.metadata.next(uint64(status.FreeMetadata()), uint64(usableMetadata(status)), false, percent)
	return p.space
}

// usableMetadata is the metadata without what the kernel keeps in reserve: that counts as used and can never be free.
func usableMetadata(status devicemapper.ThinPoolStatus) devicemapper.MetadataBlocks {
	return status.TotalMetadata - min(status.TotalMetadata, metadataReserve(status.TotalMetadata))
}

// logSpace says which space has changed its state.
func (p *Pool) logSpace(ctx context.Context, before, now spaceStates, status Status) {
	for _, change := range []struct {
		what        string
		before, now SpaceState
		space       Space
	}{{"data", before.data, now.data, status.Data}, {"metadata", before.metadata, now.metadata, status.Metadata}} {
		if change.before != change.now && (change.before != "" || change.now != SpaceOK) {
			klog.FromContext(ctx).Info("Thin pool's space changed its state", "pool", p.label.PoolName, "space", change.what,
				"before", change.before, "now", change.now, "used", change.space.Used, "total", change.space.Total)
		}
	}
}
