package parameters

import (
	"maps"
	"slices"
)

// The keys of csi-snapshotter's --extra-create-metadata, which it defines.
const (
	keySnapshotName      = "csi.storage.k8s.io/volumesnapshot/name"
	keySnapshotNamespace = "csi.storage.k8s.io/volumesnapshot/namespace"
	keySnapshotContent   = "csi.storage.k8s.io/volumesnapshotcontent/name"
	keyGroupName         = "csi.storage.k8s.io/volumegroupsnapshot/name"
	keyGroupNamespace    = "csi.storage.k8s.io/volumegroupsnapshot/namespace"
	keyGroupContent      = "csi.storage.k8s.io/volumegroupsnapshotcontent/name"
)

// ParseSnapshotClass reads the parameters of a CreateSnapshot or CreateVolumeGroupSnapshot request. A VolumeSnapshotClass and a
// VolumeGroupSnapshotClass of csi-dm have none: a snapshot is
// in its volume's pool, and as its volume is. The error is an *UnknownKeyError.
func ParseSnapshotClass(parameters map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		switch key {
		case keySnapshotName, keySnapshotNamespace, keySnapshotContent, keyGroupName, keyGroupNamespace, keyGroupContent:
		default:
			return &UnknownKeyError{Key: key}
		}
	}
	return nil
}
