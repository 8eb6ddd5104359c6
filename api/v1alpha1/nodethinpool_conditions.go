package v1alpha1

// Condition types of a NodeThinPool that warn before something is refused or lost. All are True while there is nothing to
// say.
const (
	// ConditionDataSpace and ConditionMetadataSpace are False while the space is Low, Critical or Full.
	ConditionDataSpace     = "DataSpaceSufficient"
	ConditionMetadataSpace = "MetadataSpaceSufficient"
	// ConditionSnapshotBudget is False once few or none are left of the snapshots that a pool can make in its life.
	ConditionSnapshotBudget = "SnapshotBudgetSufficient"
	// ConditionGrown is False while the source offers space that the pool could not take in: devices that were added or have
	// become larger, or a larger file.
	ConditionGrown = "Grown"
	// ConditionNoOrphans is False while the pool holds volumes of which there is no ThinVolume.
	ConditionNoOrphans = "NoOrphanedVolumes"
)

// Reasons of these conditions.
const (
	ReasonSufficient      = "Sufficient"
	ReasonSpaceLow        = "SpaceLow"
	ReasonSpaceCritical   = "SpaceCritical"
	ReasonSpaceFull       = "SpaceFull"
	ReasonSnapshotsLow    = "SnapshotBudgetLow"
	ReasonSnapshotsUsedUp = "SnapshotBudgetUsedUp"
	ReasonAllTakenIn      = "AllTakenIn"
	ReasonNoneOrphaned    = "NoneOrphaned"
	ReasonOrphanedVolumes = "OrphanedVolumes"
	ReasonPoolFull        = "PoolFull"
	ReasonRegistryFull    = "RegistryFull"
	ReasonThinIDsUsedUp   = "ThinIDsUsedUp"
)
