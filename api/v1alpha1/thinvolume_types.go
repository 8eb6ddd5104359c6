package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ThinVolume is one volume: a thin device in the pool of one node. Its name is the CSI volume handle.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=tv,categories=csi-dm
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:subresource:status
// +kubebuilder:selectablefield:JSONPath=`.spec.nodeName`
// +kubebuilder:selectablefield:JSONPath=`.spec.poolName`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.nodeName`
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.poolName`
// +kubebuilder:printcolumn:name="Size",type=string,JSONPath=`.status.size`
// +kubebuilder:printcolumn:name="Allocated",type=string,JSONPath=`.status.allocated`
// +kubebuilder:printcolumn:name="Exclusive",type=string,JSONPath=`.status.exclusive`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Healthy",type=string,JSONPath=`.status.conditions[?(@.type=="Healthy")].status`
// +kubebuilder:printcolumn:name="Namespace",type=string,JSONPath=`.spec.claim.namespace`
// +kubebuilder:printcolumn:name="Claim",type=string,JSONPath=`.spec.claim.name`
// +kubebuilder:printcolumn:name="Capacity",type=string,JSONPath=`.spec.capacity`,priority=1
// +kubebuilder:printcolumn:name="FSType",type=string,JSONPath=`.spec.fsType`,priority=1
// +kubebuilder:printcolumn:name="ThinID",type=integer,JSONPath=`.status.thinID`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="!self.metadata.name.endsWith('.snapshot')",message="metadata.name: names that end with '.snapshot' are kept for the thin devices of snapshots"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$') && size(self.metadata.name) <= 96",message="metadata.name: a volume's name has at most 96 characters: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"
// +kubebuilder:validation:XValidation:rule="quantity(string(self.spec.capacity)).compareTo(quantity(string(oldSelf.spec.capacity))) >= 0 || (has(oldSelf.status) && has(oldSelf.status.size) && quantity(string(self.spec.capacity)).compareTo(quantity(string(oldSelf.status.size))) >= 0)",message="spec.capacity: capacity cannot shrink, but down to status.size where the node could not grow the volume"
type ThinVolume struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ThinVolumeSpec   `json:"spec"`
	Status ThinVolumeStatus `json:"status,omitempty"`
}

// ThinVolumeSpec is written by the controller.
//
// +kubebuilder:validation:XValidation:rule="self.nodeName == oldSelf.nodeName && self.poolName == oldSelf.poolName",message="nodeName and poolName are immutable: a volume lives in the pool where it was made"
// +kubebuilder:validation:XValidation:rule="quantity(string(self.capacity)).isGreaterThan(quantity('0'))",message="capacity must be greater than 0"
// +kubebuilder:validation:XValidation:rule="self.volumeMode == oldSelf.volumeMode",message="volumeMode is immutable"
// +kubebuilder:validation:XValidation:rule="(self.volumeMode == 'Block') != has(self.fsType)",message="fsType is required with volumeMode Filesystem and must be absent with Block"
// +kubebuilder:validation:XValidation:rule="self.volumeMode != 'Block' || !has(self.mkfsOptions)",message="mkfsOptions must be absent with volumeMode Block"
// +kubebuilder:validation:XValidation:rule="self.volumeMode != 'Block' || !has(self.rootMode)",message="rootMode must be absent with volumeMode Block"
// +kubebuilder:validation:XValidation:rule="has(self.rootMode) == has(oldSelf.rootMode) && (!has(self.rootMode) || self.rootMode == oldSelf.rootMode)",message="rootMode is immutable: it is set once, on a fresh volume"
// +kubebuilder:validation:XValidation:rule="has(self.fsType) == has(oldSelf.fsType) && (!has(self.fsType) || self.fsType == oldSelf.fsType) && has(self.mkfsOptions) == has(oldSelf.mkfsOptions) && (!has(self.mkfsOptions) || self.mkfsOptions == oldSelf.mkfsOptions)",message="fsType and mkfsOptions are immutable: a volume is formatted once, when it is made"
// +kubebuilder:validation:XValidation:rule="has(self.source) == has(oldSelf.source) && (!has(self.source) || self.source == oldSelf.source)",message="source is immutable: a volume is made from it once"
// +kubebuilder:validation:XValidation:rule="!has(self.source) || !has(self.mkfsOptions)",message="mkfsOptions do not go with source, which is formatted"
type ThinVolumeSpec struct {
	// Node whose pool holds the volume.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	NodeName string `json:"nodeName"`

	// Pool on that node.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	PoolName string `json:"poolName"`

	// Size of the volume. It is raised to grow the volume, and taken back to status.size where the node cannot do that.
	Capacity resource.Quantity `json:"capacity"`

	// Whether pods get a mounted file system or the device itself.
	// +kubebuilder:default=Filesystem
	// +optional
	VolumeMode VolumeMode `json:"volumeMode,omitempty"`

	// File system on the volume; none on one of volumeMode Block.
	// +kubebuilder:validation:Enum=ext4;xfs
	// +optional
	FSType string `json:"fsType,omitempty"`

	// Extra arguments of mkfs, already checked against the allow-list.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=128
	// +listType=atomic
	// +optional
	MkfsOptions []string `json:"mkfsOptions,omitempty"`

	// Mode of the root directory of a fresh volume, in octal digits: set when the volume is mounted for the first time. Empty: 0755.
	// +kubebuilder:validation:Pattern=`^[0-3][0-7]{3}$`
	// +optional
	RootMode string `json:"rootMode,omitempty"`

	// What the volume begins as: something in the same pool, which may be gone once the volume is made. It is empty for a volume
	// that is formatted.
	// +optional
	Source *VolumeSource `json:"source,omitempty"`

	// Claim that the volume was made for, as csi-provisioner named it.
	// +optional
	Claim *ClaimReference `json:"claim,omitempty"`
}

// VolumeMode says what pods get of a volume.
//
// +kubebuilder:validation:Enum=Filesystem;Block
type VolumeMode string

// The modes of a volume, named as those of a claim.
const (
	VolumeModeFilesystem VolumeMode = "Filesystem"
	VolumeModeBlock      VolumeMode = "Block"
)

// IsBlock tells whether pods get the device itself.
func (s *ThinVolumeSpec) IsBlock() bool { return s.VolumeMode == VolumeModeBlock }

// VolumeSource names a ThinSnapshot or a ThinVolume.
//
// +kubebuilder:validation:XValidation:rule="has(self.snapshotName) != has(self.volumeName)",message="exactly one of snapshotName and volumeName"
type VolumeSource struct {
	// ThinSnapshot that the volume is restored from.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=80
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +optional
	SnapshotName string `json:"snapshotName,omitempty"`
	// ThinVolume that the volume is a clone of.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=96
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +optional
	VolumeName string `json:"volumeName,omitempty"`
}

// ClaimReference names a PersistentVolumeClaim.
type ClaimReference struct {
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// ThinVolumeStatus is written by the node.
type ThinVolumeStatus struct {
	// Identity of the pool that holds the thin device.
	// +optional
	PoolID string `json:"poolID,omitempty"`
	// The thin device's id in its pool: 0 to 2^24 - 1.
	// +optional
	ThinID *int64 `json:"thinID,omitempty"`
	// Size of the thin device: the capacity, rounded up to whole pool blocks.
	// +optional
	Size *resource.Quantity `json:"size,omitempty"`
	// Space of the pool that the volume's data takes, what it shares with its base and with other volumes included. Written
	// when it has changed by 5%, at most every 10 minutes; the same goes for exclusive.
	// +optional
	Allocated *resource.Quantity `json:"allocated,omitempty"`
	// Space of the pool that the volume shares with nothing: what deleting it gives back.
	// +optional
	Exclusive *resource.Quantity `json:"exclusive,omitempty"`
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ThinVolumeList is a list of ThinVolumes.
//
// +kubebuilder:object:root=true
type ThinVolumeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ThinVolume `json:"items"`
}
