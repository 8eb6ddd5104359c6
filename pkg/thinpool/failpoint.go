package thinpool

// Failpoint is a place between two steps of an operation at which a crash has a consequence of its own. Tests kill the
// process there; production code passes through.
type failpoint string

const (
	failMakeLabelled       failpoint = "make: labels say creating"
	failMakeRegistryEmpty  failpoint = "make: registry formatted"
	failMakeRegistry       failpoint = "make: registry made"
	failMakeCleared        failpoint = "make: metadata superblock cleared"
	failMakePool           failpoint = "make: metadata formatted"
	failMakeOneReady       failpoint = "make: all labels but the first say ready"
	failTakeMarked         failpoint = "take over: marked as being taken"
	failTakeThin           failpoint = "take over: registry's thin device made"
	failTakeMapped         failpoint = "take over: registry's blocks written"
	failTakeFormatted      failpoint = "take over: registry formatted"
	failTakeRegistry       failpoint = "take over: registry made"
	failBaseIntent         failpoint = "base: intent durable"
	failBaseThin           failpoint = "base: thin device made"
	failBaseFormatted      failpoint = "base: formatted"
	failBaseDone           failpoint = "base: result riding"
	failBaseDeleting       failpoint = "base: deletion durable"
	failBaseDeleted        failpoint = "base: thin device deleted"
	failFormatDone         failpoint = "format: volume recorded"
	failCreateIntent       failpoint = "create: intent durable"
	failCreateThin         failpoint = "create: thin device made"
	failCreateDone         failpoint = "create: result riding"
	failCreateTaken        failpoint = "create: thin id taken"
	failSnapshotWritable   failpoint = "snapshot: pool found writable"
	failSnapshotWritten    failpoint = "snapshot: source written out"
	failSnapshotHeld       failpoint = "snapshot: source held"
	failSnapshotMade       failpoint = "snapshot: made, source held"
	failSnapshotResumed    failpoint = "snapshot: source resumed"
	failGroupIntent        failpoint = "group: intent durable"
	failGroupHeld          failpoint = "group: all sources held"
	failGroupSome          failpoint = "group: one snapshot made"
	failGroupMade          failpoint = "group: all snapshots made"
	failGroupResumed       failpoint = "group: all sources resumed"
	failGroupDone          failpoint = "group: result riding"
	failGrowDurable        failpoint = "resize: size durable"
	failGrowLoaded         failpoint = "resize: table loaded"
	failGrowHeld           failpoint = "resize: volume held"
	failGrowDone           failpoint = "resize: volume resumed"
	failDeleteInactive     failpoint = "delete: deactivated"
	failDeleteIntent       failpoint = "delete: intent durable"
	failDeleteLeft         failpoint = "delete: left to the background"
	failDeleteActive       failpoint = "delete: active for discards"
	failDeleteSlice        failpoint = "delete: slice discarded"
	failDeleteUnmapped     failpoint = "delete: blocks given back"
	failDeleteThin         failpoint = "delete: thin device deleted"
	failDeleteDone         failpoint = "delete: result riding"
	failPoolFile           failpoint = "grow: file extended"
	failPoolClaimed        failpoint = "grow: added devices claimed"
	failPoolLabels         failpoint = "grow: all labels but the first written"
	failPoolLabelled       failpoint = "grow: labels written"
	failPoolSuspended      failpoint = "grow: metadata or data suspended"
	failPoolMetadata       failpoint = "grow: metadata device extended"
	failPoolData           failpoint = "grow: data device extended"
	failPoolReload         failpoint = "grow: pool suspended"
	failPoolDone           failpoint = "grow: pool extended"
	failUpgradeLabels      failpoint = "upgrade: all labels but the first upgraded"
	failUpgradeLabelled    failpoint = "upgrade: labels upgraded"
	failUpgradeDone        failpoint = "upgrade: registry upgraded"
	failCommitJournalled   failpoint = "commit: written to the journal"
	failCommitFolded       failpoint = "commit: journal folded"
	failRecoverAdopted     failpoint = "recover: devices adopted"
	failRecoverHeld        failpoint = "recover: metadata snapshot held"
	failRecoverDeletions   failpoint = "recover: deletions finished that were done"
	failUsageHeld          failpoint = "usage: metadata snapshot held"
	failRecoverVolumes     failpoint = "recover: intents of volumes finished"
	failRepairInactive     failpoint = "repair: pool inactive"
	failRepairFileSystem   failpoint = "repair: registry's file system repaired"
	failRepairCleared      failpoint = "repair: needs_check cleared"
	failRepairSpareCleared failpoint = "repair: spare cleared"
	failRepairSpareWritten failpoint = "repair: metadata written to the spare"
	failRepairSpareChecked failpoint = "repair: spare checked"
	failRepairBasesRetired failpoint = "repair: bases retired"
	failRepairLabels       failpoint = "repair: all labels but the first exchanged"
	failRepairExchanged    failpoint = "repair: spare and metadata exchanged"
)

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
	failRecoverAdopted, failRecoverHeld, failRecoverDeletions, failRecoverVolumes,
	failRepairInactive, failRepairFileSystem, failRepairCleared, failRepairSpareCleared, failRepairSpareWritten, failRepairSpareChecked,
	failRepairBasesRetired, failRepairLabels, failRepairExchanged,
}

// reached is what tests replace, before they open a pool.
var reached = func(failpoint) {}
