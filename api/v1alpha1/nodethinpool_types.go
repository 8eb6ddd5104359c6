package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NodeThinPool is one pool on one node. Its name is NodeThinPoolName(pool, node).
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=ntp,categories=csi-dm
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:subresource:status
// +kubebuilder:selectablefield:JSONPath=`.spec.nodeName`
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.poolName`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.nodeName`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Healthy",type=string,JSONPath=`.status.conditions[?(@.type=="Healthy")].status`
// +kubebuilder:printcolumn:name="Size",type=string,JSONPath=`.status.data.total`
// +kubebuilder:printcolumn:name="Used",type=string,JSONPath=`.status.data.used`
// +kubebuilder:printcolumn:name="Space",type=string,JSONPath=`.status.data.state`
// +kubebuilder:printcolumn:name="Metadata",type=string,JSONPath=`.status.metadata.used`,priority=1
// +kubebuilder:printcolumn:name="MetadataSpace",type=string,JSONPath=`.status.metadata.state`,priority=1
// +kubebuilder:printcolumn:name="Volumes",type=integer,JSONPath=`.status.volumes`
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.status.mode`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type NodeThinPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   NodeThinPoolSpec   `json:"spec"`
	Status NodeThinPoolStatus `json:"status,omitempty"`
}

// NodeThinPoolSpec is written by the controller.
type NodeThinPoolSpec struct {
	// Node that owns the pool.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="nodeName is immutable"
	NodeName string `json:"nodeName"`

	// ThinPool that this is the node's part of.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="poolName is immutable"
	PoolName string `json:"poolName"`

	PoolSettings `json:",inline"`
}

// PoolMode is the kernel's mode of a thin pool.
//
// +kubebuilder:validation:Enum=ReadWrite;OutOfDataSpace;ReadOnly;Failed
type PoolMode string

// The modes of a pool, in the order in which things get worse.
const (
	PoolModeReadWrite      PoolMode = "ReadWrite"
	PoolModeOutOfDataSpace PoolMode = "OutOfDataSpace"
	PoolModeReadOnly       PoolMode = "ReadOnly"
	PoolModeFailed         PoolMode = "Failed"
)

// NodeThinPoolStatus is written by the node.
type NodeThinPoolStatus struct {
	// Identity of the pool, recorded in it when it was made.
	// +optional
	PoolID string `json:"poolID,omitempty"`
	// Name of the pool's device mapper device.
	// +optional
	DeviceName string `json:"deviceName,omitempty"`
	// +optional
	BlockSize *resource.Quantity `json:"blockSize,omitempty"`
	// Space for the volumes' blocks, in bytes.
	// +optional
	Data SpaceUsage `json:"data,omitempty"`
	// Space for the pool's own mappings, in bytes.
	// +optional
	Metadata SpaceUsage `json:"metadata,omitempty"`
	// Space that the formatted base devices hold, in bytes of the data space.
	// +optional
	BaseBytes *resource.Quantity `json:"baseBytes,omitempty"`
	// Space of deleted volumes that is not given back yet, in bytes of the data space.
	// +optional
	PendingDeletionBytes *resource.Quantity `json:"pendingDeletionBytes,omitempty"`
	// Sum of the sizes of the volumes that the pool holds.
	// +optional
	PromisedBytes *resource.Quantity `json:"promisedBytes,omitempty"`
	// Sum of the sizes of the inline ephemeral volumes that the pool holds. They have no ThinVolume.
	// +optional
	InlineVolumeBytes *resource.Quantity `json:"inlineVolumeBytes,omitempty"`
	// Volumes that the pool holds.
	// +kubebuilder:default=0
	// +optional
	Volumes int32 `json:"volumes"`
	// Volumes that the pool holds and of which there is no ThinVolume. The condition NoOrphanedVolumes names them.
	// +kubebuilder:default=0
	// +optional
	OrphanedVolumes int32 `json:"orphanedVolumes"`
	// Snapshots that the pool can still make, of the kernel's 2^24 - 1.
	// +optional
	SnapshotBudget int64 `json:"snapshotBudget,omitempty"`
	// +optional
	Mode PoolMode `json:"mode,omitempty"`
	// Whether udev runs on the node. Nothing depends on it.
	// +kubebuilder:default=false
	// +optional
	UdevRunning bool `json:"udevRunning"`
	// Versions of the kernel's device mapper and of its thin-pool target.
	// +optional
	KernelVersions *KernelVersions `json:"kernelVersions,omitempty"`
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// SpaceUsage is a size and how much of it is used, in bytes, and how near it is to its end.
type SpaceUsage struct {
	// +optional
	Total *resource.Quantity `json:"total,omitempty"`
	// +optional
	Used *resource.Quantity `json:"used,omitempty"`
	// Follows from what is free and minFreeSpace. Low: twice minFreeSpace (at most 10 points above it) or less is free.
	// Critical: minFreeSpace (at least 1%) or less, no volume is accepted. Full: nothing is free.
	// +optional
	State SpaceState `json:"state,omitempty"`
}

// SpaceState says how near a space is to its end.
//
// +kubebuilder:validation:Enum=OK;Low;Critical;Full
type SpaceState string

// The states of a space, in the order in which things get worse.
const (
	SpaceStateOK       SpaceState = "OK"
	SpaceStateLow      SpaceState = "Low"
	SpaceStateCritical SpaceState = "Critical"
	SpaceStateFull     SpaceState = "Full"
)

// KernelVersions are the versions that the kernel reports of itself.
type KernelVersions struct {
	DeviceMapper string `json:"deviceMapper"`
	ThinPool     string `json:"thinPool"`
}

// NodeThinPoolList is a list of NodeThinPools.
//
// +kubebuilder:object:root=true
type NodeThinPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NodeThinPool `json:"items"`
}
