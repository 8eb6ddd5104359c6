package v1alpha1

// ConditionHealthy is False while something is known to ail what exists already: on a NodeThinPool all volumes of the pool, on
// a ThinVolume that volume alone. A ThinVolume has no such condition until something was wrong for the first time.
const ConditionHealthy = "Healthy"

// Reasons of ConditionHealthy, the worst first where there are several. They are the reasons of CSI's health calls as well.
// A pool that is not open has the reason of its condition Ready.
const (
	ReasonHealthy = "Healthy"
	// ReasonRecovered is of the event that says that something is well again.
	ReasonRecovered = "Recovered"

	// ReasonPoolNotOpen: the node cannot open the pool.
	ReasonPoolNotOpen = "PoolNotOpen"
	// ReasonDeviceUnreadable: a device below the pool gives an error, or no answer.
	ReasonDeviceUnreadable = "DeviceUnreadable"
	// ReasonPoolReadOnly: the kernel refuses new blocks; what is there can be read and overwritten.
	ReasonPoolReadOnly = "PoolReadOnly"
	// ReasonPoolNeedsCheck: the pool's metadata needs a check.
	ReasonPoolNeedsCheck = "PoolNeedsCheck"
	// ReasonPoolOutOfDataSpace and ReasonPoolOutOfMetadataSpace: writes to new blocks fail, or wait.
	ReasonPoolOutOfDataSpace     = "PoolOutOfDataSpace"
	ReasonPoolOutOfMetadataSpace = "PoolOutOfMetadataSpace"

	// ReasonVolumeLost: the pool does not hold the volume's thin device any more.
	ReasonVolumeLost = "VolumeLost"
	// ReasonFileSystemMissing: the volume does not begin with the file system that it was made with.
	ReasonFileSystemMissing = "FileSystemMissing"
	// ReasonFileSystemDamaged: the file system was refused, and could not be repaired without being asked.
	ReasonFileSystemDamaged = "FileSystemDamaged"
	// ReasonFileSystemShutDown: the kernel has shut the file system down after an error.
	ReasonFileSystemShutDown = "FileSystemShutDown"
	// ReasonFileSystemErrors: the kernel has noted errors in the file system.
	ReasonFileSystemErrors = "FileSystemErrors"
	// ReasonNotMounted and ReasonOtherMount: what should be mounted for a pod is not, or something else is.
	ReasonNotMounted = "NotMounted"
	ReasonOtherMount = "OtherMount"

	// ReasonNodeNotFound and ReasonNodeNotReady: the node that has the volume.
	ReasonNodeNotFound = "NodeNotFound"
	ReasonNodeNotReady = "NodeNotReady"
)
