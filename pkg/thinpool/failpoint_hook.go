//go:build kernel

package thinpool

import "sync/atomic"

// failpoints are all of them, for tests to visit.
var failpoints = []failpoint{
	failMakeLabelled, failMakeRegistryEmpty, failMakeRegistry, failMakeCleared, failMakePool, failMakeOneReady,
	failTakeMarked, failTakeThin, failTakeMapped, failTakeFormatted, failTakeRegistry,
	failBaseIntent, failBaseThin, failBaseFormatted, failBaseDone, failBaseDeleting, failBaseDeleted,
	failFormatDone,
	failCreateIntent, failCreateThin, failCreateDone,
	failSnapshotWritable, failSnapshotWritten, failSnapshotHeld, failSnapshotMade, failSnapshotResumed,
	failGroupIntent, failGroupHeld, failGroupSome, failGroupMade, failGroupResumed, failGroupDone,
	failGrowDurable, failGrowLoaded, failGrowHeld, failGrowDone,
	failDeleteInactive, failDeleteIntent, failDeleteLeft, failDeleteActive, failDeleteSlice, failDeleteUnmapped, failDeleteThin, failDeleteDone,
	failPoolFile, failPoolClaimed, failPoolLabels, failPoolLabelled, failPoolSuspended, failPoolMetadata, failPoolData,
	failPoolReload, failPoolDone,
	failUpgradeLabels, failUpgradeLabelled, failUpgradeDone,
	failUsageHeld,
	failCommitJournalled, failCommitFolded,
	failRecoverActive, failRecoverMounted, failRecoverFolded, failRecoverRead, failRecoverLoaded,
	failRecoverAdopted, failRecoverHeld, failRecoverDeletions, failRecoverVolumes,
	failRepairInactive, failRepairFileSystem, failRepairCleared, failRepairSpareCleared, failRepairSpareWritten, failRepairSpareChecked,
	failRepairBasesRetired, failRepairLabels, failRepairExchanged,
}

// hook is what SetFailpoint has set. Goroutines of an open pool may read it meanwhile.
var hook atomic.Pointer[func(name string)]

func init() {
	reached = func(at failpoint) {
		if f := hook.Load(); f != nil {
			(*f)(string(at))
		}
	}
}

// SetFailpoint has f called at each failpoint, by its name. It exists in kernel tests only: those of this package and of the
// packages above it, which kill a process in the middle of what they ask the engine for.
func SetFailpoint(f func(name string)) { hook.Store(&f) }

// Failpoints are the names of all failpoints.
func Failpoints() []string {
	var names []string
	for _, f := range failpoints {
		names = append(names, string(f))
	}
	return names
}
