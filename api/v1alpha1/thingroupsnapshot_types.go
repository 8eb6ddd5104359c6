package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ThinGroupSnapshot is the order to take snapshots of several volumes of one pool at one moment. It carries the whole group to the
// node: all of its snapshots come to be, or none. Each is a ThinSnapshot then. Its name is the CSI group snapshot handle.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=tgs,categories=csi-dm
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:subresource:status
// +kubebuilder:selectablefield:JSONPath=`.spec.nodeName`
// +kubebuilder:selectablefield:JSONPath=`.spec.poolName`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.nodeName`
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.poolName`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Held",type=string,JSONPath=`.status.longestFreeze`
// +kubebuilder:printcolumn:name="Taken",type=date,JSONPath=`.status.creationTime`
// +kubebuilder:printcolumn:name="Volumes",type=string,JSONPath=`.spec.members[*].volumeName`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$') && size(self.metadata.name) <= 80",message="metadata.name: a group snapshot's name has at most 80 characters: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"
type ThinGroupSnapshot struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ThinGroupSnapshotSpec   `json:"spec"`
	Status ThinGroupSnapshotStatus `json:"status,omitempty"`
}

// ThinGroupSnapshotSpec is written by the controller, once.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: a group is taken once"
// +kubebuilder:validation:XValidation:rule="self.members.all(m, self.members.exists_one(n, n.snapshotName == m.snapshotName))",message="members: each snapshotName may be there once"
type ThinGroupSnapshotSpec struct {
	// Node whose pool holds all of the volumes.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	NodeName string `json:"nodeName"`

	// Pool on that node.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	PoolName string `json:"poolName"`

	// The volumes, and the snapshots that they become.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=volumeName
	Members []GroupSnapshotMember `json:"members"`
}

// GroupSnapshotMember is one snapshot of a group.
type GroupSnapshotMember struct {
	// ThinVolume that the snapshot is taken of.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=96
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	VolumeName string `json:"volumeName"`

	// Name of the ThinSnapshot.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=80
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	SnapshotName string `json:"snapshotName"`

	// Size of the volume when the snapshot was asked for.
	Capacity resource.Quantity `json:"capacity"`

	// File system on the volume; absent for a volume without one.
	// +kubebuilder:validation:Enum=ext4;xfs
	// +optional
	FSType string `json:"fsType,omitempty"`
}

// ThinGroupSnapshotStatus is written by the node.
type ThinGroupSnapshotStatus struct {
	// When the group was begun, as the pool's registry has it.
	// +optional
	CreationTime *metav1.MicroTime `json:"creationTime,omitempty"`
	// How long the I/O of one of the volumes was held back at most. It is absent if no volume was in use, or if the node was
	// restarted before it could say it.
	// +optional
	LongestFreeze *metav1.Duration `json:"longestFreeze,omitempty"`
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ThinGroupSnapshotList is a list of ThinGroupSnapshots.
//
// +kubebuilder:object:root=true
type ThinGroupSnapshotList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ThinGroupSnapshot `json:"items"`
}
