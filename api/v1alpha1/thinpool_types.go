package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ThinPool says which nodes own a thin pool, and what it is made of on each of them.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=tp,categories=csi-dm
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Nodes",type=integer,JSONPath=`.status.nodes`,description="Nodes that the selector matches"
// +kubebuilder:printcolumn:name="Ready",type=integer,JSONPath=`.status.readyNodes`,description="Nodes whose pool serves volumes"
// +kubebuilder:printcolumn:name="BlockSize",type=string,JSONPath=`.spec.blockSize`
// +kubebuilder:printcolumn:name="Overprovision",type=string,JSONPath=`.spec.overprovision`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 40",message="metadata.name: a pool's name has at most 40 characters: lower-case letters, digits and '-', beginning and ending with a letter or digit"
type ThinPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ThinPoolSpec   `json:"spec"`
	Status ThinPoolStatus `json:"status,omitempty"`
}

// ThinPoolSpec is what the admin writes.
type ThinPoolSpec struct {
	// Nodes that own such a pool. Absent or empty: every node that runs the driver.
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['Exists', 'DoesNotExist'] ? !has(e.values) || size(e.values) == 0 : e.operator in ['In', 'NotIn'] && has(e.values) && size(e.values) > 0)",message="nodeSelector.matchExpressions: operator must be In or NotIn, with values, or Exists or DoesNotExist, without"
	// +optional
	NodeSelector *metav1.LabelSelector `json:"nodeSelector,omitempty"`

	PoolSettings `json:",inline"`
}

// PoolSettings is the part of a ThinPool that a node needs to make and run its pool. The controller copies it into each
// NodeThinPool, so that a node reads no other object than its own.
//
// +kubebuilder:validation:XValidation:rule="has(self.source.devices) == has(oldSelf.source.devices) && has(self.source.dataDevice) == has(oldSelf.source.dataDevice) && has(self.source.metadataDevice) == has(oldSelf.source.metadataDevice) && has(self.source.thinPoolDevice) == has(oldSelf.source.thinPoolDevice) && has(self.source.loopback) == has(oldSelf.source.loopback) && (!has(self.source.dataDevice) || self.source.dataDevice == oldSelf.source.dataDevice) && (!has(self.source.metadataDevice) || self.source.metadataDevice == oldSelf.source.metadataDevice) && (!has(self.source.thinPoolDevice) || self.source.thinPoolDevice == oldSelf.source.thinPoolDevice)",message="source is immutable, all but source.force and what makes the pool larger: it says where volumes that exist live; make another ThinPool for another source"
// +kubebuilder:validation:XValidation:rule="!(has(self.source.devices) && has(oldSelf.source.devices)) || oldSelf.source.devices.all(d, self.source.devices.indexOf(d) == oldSelf.source.devices.indexOf(d))",message="source is immutable: devices can be added at the end of source.devices, and none can be removed or change its place"
// +kubebuilder:validation:XValidation:rule="!(has(self.source.loopback) && has(oldSelf.source.loopback)) || quantity(self.source.loopback.size).compareTo(quantity(oldSelf.source.loopback.size)) >= 0",message="source.loopback.size cannot shrink"
// +kubebuilder:validation:XValidation:rule="!has(self.blockSize) || quantity(self.blockSize).isInteger() && quantity(self.blockSize).compareTo(quantity('64Ki')) >= 0 && quantity(self.blockSize).compareTo(quantity('1Gi')) <= 0 && quantity(self.blockSize).asInteger() % 65536 == 0",message="blockSize must be a multiple of 64Ki from 64Ki to 1Gi"
// +kubebuilder:validation:XValidation:rule="has(self.source.thinPoolDevice) && !(has(self.blockSize) && has(oldSelf.blockSize)) || quantity(has(self.blockSize) ? self.blockSize : '64Ki').compareTo(quantity(has(oldSelf.blockSize) ? oldSelf.blockSize : '64Ki')) == 0",message="blockSize is immutable: the kernel fixes it when the pool is made"
// +kubebuilder:validation:XValidation:rule="quantity(string(self.overprovision)).compareTo(quantity('1')) >= 0 && quantity(string(self.overprovision)).compareTo(quantity('100')) <= 0",message="overprovision must be from 1 to 100"
type PoolSettings struct {
	// What the pool is made of. It cannot be changed, apart from force and from what makes the pool larger.
	Source PoolSource `json:"source"`

	// Size of a pool block, the unit of allocation and of copy-on-write: a multiple of 64Ki from 64Ki to 1Gi. It cannot be
	// changed. Absent: 64Ki, or with source.thinPoolDevice the block size that the pool has. Another one than the pool's is
	// refused by the node.
	// +kubebuilder:validation:MaxLength=24
	// +kubebuilder:validation:Pattern=`^[0-9]+(Ki|Mi|Gi)?$`
	// +optional
	BlockSize string `json:"blockSize,omitempty"`

	// Share of the data space, and of the metadata space, below which the pool accepts no new volume, from 0% to 99%.
	// +kubebuilder:default="10%"
	// +kubebuilder:validation:Pattern=`^(0|[1-9][0-9]?)%$`
	// +optional
	MinFreeSpace string `json:"minFreeSpace,omitempty"`

	// How many times the pool's space may be promised to volumes, from 1 to 100: 1.5, or 1500m, as Go programs write it. With
	// 1, no volume without snapshots ever meets a full pool.
	// +kubebuilder:default="1"
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^([0-9]{1,3}(\.[0-9]{1,3})?|[0-9]{1,6}m)$`
	// +optional
	Overprovision *resource.Quantity `json:"overprovision,omitempty"`

	// What a writer meets when the pool's data space is full: Error gives ENOSPC at once; Wait queues its writes until space
	// appears or the kernel's no_space_timeout (60 s) has passed. With source.thinPoolDevice it is as the pool's owner has set it.
	// +kubebuilder:default=Error
	// +kubebuilder:validation:Enum=Error;Wait
	// +optional
	WhenFull WhenFull `json:"whenFull,omitempty"`

	// Whether discards reach the devices below: of the blocks of deleted volumes, and those that the volumes' file systems
	// send. With source.thinPoolDevice it is as the pool's owner has set it.
	// +kubebuilder:default=true
	// +optional
	DiscardOnDelete *bool `json:"discardOnDelete,omitempty"`
}

// WhenFull is what a writer meets when the pool's data space is full.
type WhenFull string

// The values of WhenFull.
const (
	WhenFullError WhenFull = "Error"
	WhenFullWait  WhenFull = "Wait"
)

// PoolSource says what a pool is made of. Exactly one kind of source is set: devices, dataDevice with metadataDevice,
// thinPoolDevice, or loopback.
//
// +kubebuilder:validation:XValidation:rule="[has(self.devices), has(self.dataDevice) || has(self.metadataDevice), has(self.thinPoolDevice), has(self.loopback)].filter(set, set).size() == 1",message="source: set exactly one of devices, dataDevice with metadataDevice, thinPoolDevice, and loopback"
// +kubebuilder:validation:XValidation:rule="has(self.dataDevice) == has(self.metadataDevice)",message="source.dataDevice and source.metadataDevice go together"
// +kubebuilder:validation:XValidation:rule="!(has(self.dataDevice) && has(self.metadataDevice)) || self.dataDevice != self.metadataDevice",message="source.dataDevice and source.metadataDevice must be two devices"
// +kubebuilder:validation:XValidation:rule="!has(self.force) || has(self.devices) || has(self.dataDevice)",message="source.force goes with source.devices, or with source.dataDevice and source.metadataDevice"
type PoolSource struct {
	// One or more raw block devices, for exclusive use, as absolute paths below /dev. A path that names the device itself
	// (/dev/disk/by-id/...) survives renumbering. A device that carries any signature is refused.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:items:Pattern=`^/dev/([A-Za-z0-9_+=:@-][A-Za-z0-9_.+=:@-]*/)*[A-Za-z0-9_+=:@-][A-Za-z0-9_.+=:@-]*$`
	// +listType=set
	// +optional
	Devices []string `json:"devices,omitempty"`

	// A raw block device for data, for exclusive use, as an absolute path below /dev; metadataDevice goes with it.
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^/dev/([A-Za-z0-9_+=:@-][A-Za-z0-9_.+=:@-]*/)*[A-Za-z0-9_+=:@-][A-Za-z0-9_.+=:@-]*$`
	// +optional
	DataDevice string `json:"dataDevice,omitempty"`

	// A raw block device for the pool's metadata alone, usually a faster one. Half of it is kept as a spare for repairs. The
	// least that it must have is 49Mi and 128 bytes for each block of data.
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^/dev/([A-Za-z0-9_+=:@-][A-Za-z0-9_.+=:@-]*/)*[A-Za-z0-9_+=:@-][A-Za-z0-9_.+=:@-]*$`
	// +optional
	MetadataDevice string `json:"metadataDevice,omitempty"`

	// A thin pool of device mapper that somebody else makes and activates, LVM for example, handed over for exclusive use
	// (/dev/VG/POOL). It must be unused when it is taken over: no thin volume was ever in it, and it zeroes new blocks.
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^/dev/([A-Za-z0-9_+=:@-][A-Za-z0-9_.+=:@-]*/)*[A-Za-z0-9_+=:@-][A-Za-z0-9_.+=:@-]*$`
	// +optional
	ThinPoolDevice string `json:"thinPoolDevice,omitempty"`

	// Signatures that may be removed from the devices, by the name that the refusal gives (for example ext4, LVM2_member).
	// What they stand for is destroyed.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9_.-]{1,64}$`
	// +listType=set
	// +optional
	Force []string `json:"force,omitempty"`

	// Files on the node's file system behind loop devices: for trying out and for tests, not for production.
	// +optional
	Loopback *LoopbackSource `json:"loopback,omitempty"`
}

// LoopbackSource puts a pool on a sparse file.
//
// +kubebuilder:validation:XValidation:rule="quantity(self.size).compareTo(quantity('256Mi')) >= 0 && quantity(self.size).compareTo(quantity('16Ti')) <= 0 && quantity(self.size).asInteger() % 1048576 == 0",message="source.loopback.size must be from 256Mi to 16Ti, in whole Mi"
type LoopbackSource struct {
	// Size of the file, made sparse: from 256Mi to 16Ti, in whole Mi. It lies in the directory that the chart gives the node plugin
	// (node.loopbackDir).
	// +kubebuilder:default="100Gi"
	// +kubebuilder:validation:MaxLength=24
	// +kubebuilder:validation:Pattern=`^[0-9]+(Ki|Mi|Gi|Ti)?$`
	// +optional
	Size string `json:"size,omitempty"`
}

// ThinPoolStatus sums up the pool over its nodes.
type ThinPoolStatus struct {
	// Nodes that the selector matches.
	// +optional
	Nodes int32 `json:"nodes"`
	// Nodes whose pool serves volumes.
	// +optional
	ReadyNodes int32 `json:"readyNodes"`
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ThinPoolList is a list of ThinPools.
//
// +kubebuilder:object:root=true
type ThinPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ThinPool `json:"items"`
}
