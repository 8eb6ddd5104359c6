package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ThinSnapshot is what a volume held at one moment: a thin device in the volume's pool that nobody writes to. Its name is the
// CSI snapshot handle. It outlives the volume.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=ts,categories=csi-dm
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:subresource:status
// +kubebuilder:selectablefield:JSONPath=`.spec.nodeName`
// +kubebuilder:selectablefield:JSONPath=`.spec.poolName`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.nodeName`
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.poolName`
// +kubebuilder:printcolumn:name="Volume",type=string,JSONPath=`.spec.volumeName`
// +kubebuilder:printcolumn:name="Size",type=string,JSONPath=`.status.restoreSize`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Namespace",type=string,JSONPath=`.spec.claim.namespace`
// +kubebuilder:printcolumn:name="Claim",type=string,JSONPath=`.spec.claim.name`
// +kubebuilder:printcolumn:name="Taken",type=date,JSONPath=`.status.creationTime`
// +kubebuilder:printcolumn:name="Allocated",type=string,JSONPath=`.status.allocated`,priority=1
// +kubebuilder:printcolumn:name="Exclusive",type=string,JSONPath=`.status.exclusive`,priority=1
// +kubebuilder:printcolumn:name="ThinID",type=integer,JSONPath=`.status.thinID`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$') && size(self.metadata.name) <= 80",message="metadata.name: a snapshot's name has at most 80 characters: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"
type ThinSnapshot struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ThinSnapshotSpec   `json:"spec"`
	Status ThinSnapshotStatus `json:"status,omitempty"`
}

// ThinSnapshotSpec is written by the controller, once.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: a snapshot is taken once"
// +kubebuilder:validation:XValidation:rule="quantity(string(self.capacity)).isGreaterThan(quantity('0'))",message="capacity must be greater than 0"
type ThinSnapshotSpec struct {
	// Node whose pool holds the volume, and so the snapshot.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	NodeName string `json:"nodeName"`

	// Pool on that node.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	PoolName string `json:"poolName"`

	// ThinVolume that the snapshot is taken of.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=96
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	VolumeName string `json:"volumeName"`

	// Size of the volume when the snapshot was asked for. What it came to be is in the status.
	Capacity resource.Quantity `json:"capacity"`

	// File system on the volume; absent for a volume without one.
	// +kubebuilder:validation:Enum=ext4;xfs
	// +optional
	FSType string `json:"fsType,omitempty"`

	// ThinGroupSnapshot that has taken the snapshot, together with others; absent for one that is taken alone.
	// +kubebuilder:validation:MaxLength=80
	// +optional
	GroupName string `json:"groupName,omitempty"`

	// Claim of the volume.
	// +optional
	Claim *ClaimReference `json:"claim,omitempty"`
}

// ThinSnapshotStatus is written by the node.
type ThinSnapshotStatus struct {
	// Identity of the pool that holds the thin device.
	// +optional
	PoolID string `json:"poolID,omitempty"`
	// The thin device's id in its pool: 0 to 2^24 - 1.
	// +optional
	ThinID *int64 `json:"thinID,omitempty"`
	// When the snapshot was begun, as the pool's registry has it: what had been written to the volume before is in it.
	// +optional
	CreationTime *metav1.MicroTime `json:"creationTime,omitempty"`
	// Size of the thin device, and the least that a volume made from it has.
	// +optional
	RestoreSize *resource.Quantity `json:"restoreSize,omitempty"`
	// Space of the pool that the snapshot's data takes, what it shares with its volume and with others included. Written
	// when it has changed by 5%, at most every 10 minutes; the same goes for exclusive.
	// +optional
	Allocated *resource.Quantity `json:"allocated,omitempty"`
	// Space of the pool that the snapshot shares with nothing: what deleting it gives back.
	// +optional
	Exclusive *resource.Quantity `json:"exclusive,omitempty"`
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ThinSnapshotList is a list of ThinSnapshots.
//
// +kubebuilder:object:root=true
type ThinSnapshotList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ThinSnapshot `json:"items"`
}
