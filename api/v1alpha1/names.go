package v1alpha1

// Names that csi-dm shares with Kubernetes: with kubelet, the sidecars, the scheduler and the admin.
const (
	// DriverName is the CSI driver's name: CSIDriver object, StorageClass provisioner, kubelet registration.
	DriverName = "csi-dm.io"

	// TopologyKey is the topology key under which kubelet labels a node that runs the driver.
	TopologyKey = "topology.csi-dm.io/node"

	// ParameterPool is the StorageClass parameter that names a ThinPool. Without it the class uses DefaultPoolName.
	ParameterPool = "csi-dm.io/pool"

	// ParameterMkfsOptions is the StorageClass parameter with extra mkfs arguments, checked against an allow-list.
	ParameterMkfsOptions = "csi-dm.io/mkfs-options"

	// ParameterRootMode is the StorageClass parameter, and the key of the volume context, with the mode in which the root
	// directory of a fresh volume begins: three or four octal digits.
	ParameterRootMode = "csi-dm.io/root-mode"

	// ParameterFSType is the StorageClass parameter, defined by csi-provisioner, that names the file system.
	ParameterFSType = "csi.storage.k8s.io/fstype"

	// AttributeSize is the attribute with the size of an inline ephemeral volume, a quantity. Such a volume takes ParameterPool,
	// ParameterMkfsOptions and ParameterFSType as attributes as well.
	AttributeSize = "csi-dm.io/size"

	// DefaultPoolName is the pool of a StorageClass that names none.
	DefaultPoolName = "default"

	// VolumeFinalizer keeps a ThinVolume, a ThinSnapshot and a ThinGroupSnapshot until the node has given back its thin devices.
	VolumeFinalizer = "csi-dm.io/thin-device"

	// PoolFinalizer keeps a ThinPool, and a NodeThinPool, until no volume needs it.
	PoolFinalizer = "csi-dm.io/pool-in-use"

	// LabelPool and LabelNode stand on NodeThinPools, ThinVolumes, ThinSnapshots and capacity objects, for selection by people and tools.
	// LabelNode holds the topology value, which is a valid label value for every node name.
	LabelPool = "csi-dm.io/pool"
	LabelNode = "csi-dm.io/node"

	// LabelManagedBy marks the CSIStorageCapacity objects that the capacity tracker owns; its value is ManagedByCapacity.
	LabelManagedBy    = "csi-dm.io/managed-by"
	ManagedByCapacity = "capacity-tracker"
)

// Condition types of NodeThinPool, ThinVolume and ThinSnapshot, and the reasons that other parts of the driver act on.
const (
	// ConditionReady: the pool serves volumes; the thin device of the volume or snapshot exists and holds its file system.
	ConditionReady = "Ready"
	// ConditionExpansionFailed on a ThinVolume: the node could not make the thin device as large as the capacity, for the reason
	// given. There is none on a volume that has its size.
	ConditionExpansionFailed = "ExpansionFailed"
	// ConditionAdmitting on a NodeThinPool: new volumes are accepted.
	ConditionAdmitting = "Admitting"
	// ConditionProductionGrade is False on a pool that stands on loop files.
	ConditionProductionGrade = "ProductionGrade"

	// ConditionDeleting on a ThinPool that is being deleted says what it waits for.
	ConditionDeleting = "Deleting"

	ReasonReady           = "Ready"
	ReasonPending         = "Pending"
	ReasonNoSpace         = "NoSpace"
	ReasonPoolNotReady    = "PoolNotReady"
	ReasonInvalid         = "Invalid"
	ReasonSignatureFound  = "SignatureFound"
	ReasonSourceChanged   = "SourceChanged"
	ReasonPoolFailed      = "PoolFailed"
	ReasonFailed          = "Failed"
	ReasonLoopback        = "Loopback"
	ReasonDeviceNotFound  = "DeviceNotFound"
	ReasonDeviceInUse     = "DeviceInUse"
	ReasonVolumeNotFound  = "VolumeNotFound"
	ReasonVolumeInUse     = "VolumeInUse"
	ReasonWritesLost      = "WritesLost"
	ReasonBelowMinFree    = "BelowMinFreeSpace"
	ReasonAdmittingVolume = "Admitting"
	ReasonInvalidSelector = "InvalidNodeSelector"
	ReasonNoNodes         = "NoNodes"
	ReasonInvalidClass    = "InvalidStorageClass"
)
