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
// +kubebuilder:validation:XValidation:rule="has(self.source.devices) == has(oldSelf.source.devices) && (!has(self.source.devices) || self.source.devices == oldSelf.source.devices) && has(self.source.loopback) == has(oldSelf.source.loopback) && (!has(self.source.loopback) || self.source.loopback == oldSelf.source.loopback)",message="source is immutable, all but source.force: it says where volumes that exist live; make another ThinPool for another source"
// +kubebuilder:validation:XValidation:rule="quantity(self.blockSize).isInteger() && quantity(self.blockSize).compareTo(quantity('64Ki')) >= 0 && quantity(self.blockSize).compareTo(quantity('1Gi')) <= 0 && quantity(self.blockSize).asInteger() % 65536 == 0",message="blockSize must be a multiple of 64Ki from 64Ki to 1Gi"
// +kubebuilder:validation:XValidation:rule="quantity(self.blockSize).compareTo(quantity(oldSelf.blockSize)) == 0",message="blockSize is immutable: the kernel fixes it when the pool is made"
// +kubebuilder:validation:XValidation:rule="quantity(string(self.overprovision)).compareTo(quantity('1')) >= 0 && quantity(string(self.overprovision)).compareTo(quantity('100')) <= 0",message="overprovision must be from 1 to 100"
type PoolSettings struct {
	// What the pool is made of. Apart from force it cannot be changed.
	Source PoolSource `json:"source"`

	// Size of a pool block, the unit of allocation and of copy-on-write: a multiple of 64Ki from 64Ki to 1Gi. It cannot be changed.
	// +kubebuilder:default="64Ki"
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
	// appears or the kernel's no_space_timeout (60 s) has passed.
	// +kubebuilder:default=Error
	// +kubebuilder:validation:Enum=Error;Wait
	// +optional
	WhenFull WhenFull `json:"whenFull,omitempty"`

	// Whether discards reach the devices below: of the blocks of deleted volumes, and those that the volumes' file systems send.
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

// PoolSource says what a pool is made of: exactly one of its fields is set.
//
// +kubebuilder:validation:XValidation:rule="has(self.devices) != has(self.loopback)",message="source: set exactly one of devices and loopback"
// +kubebuilder:validation:XValidation:rule="!has(self.force) || has(self.devices)",message="source.force goes with source.devices"
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
// +kubebuilder:validation:XValidation:rule="quantity(self.size).compareTo(quantity('256Mi')) >= 0 && quantity(self.size).compareTo(quantity('16Ti')) <= 0",message="source.loopback.size must be from 256Mi to 16Ti"
type LoopbackSource struct {
	// Size of the file, made sparse: from 256Mi to 16Ti. It lies in the directory that the chart gives the node plugin
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
