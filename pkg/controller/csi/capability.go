package csi

import (
	"fmt"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// accessModes are those that a volume of one node can have.
var accessModes = map[csi.VolumeCapability_AccessMode_Mode]bool{
	csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER:        true,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY:   true,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER: true,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:  true,
}

// checkCapabilities tells which file system the capabilities ask for; it is empty if they leave that open.
func checkCapabilities(capabilities []*csi.VolumeCapability) (filesystem.Type, error) {
	if len(capabilities) == 0 {
		return "", &fieldError{"volume_capabilities", "", "at least one"}
	}
	var asked filesystem.Type
	for i, capability := range capabilities {
		field := fmt.Sprintf("volume_capabilities[%d]", i)
		mount := capability.GetMount()
		if mount == nil {
			return "", &fieldError{field + ".access_type", fmt.Sprintf("%T", capability.GetAccessType()), "mount (a PersistentVolumeClaim of volumeMode Filesystem)"}
		}
		if mode := capability.GetAccessMode().GetMode(); !accessModes[mode] {
			return "", &fieldError{field + ".access_mode", mode, "SINGLE_NODE_WRITER, SINGLE_NODE_SINGLE_WRITER, SINGLE_NODE_MULTI_WRITER or " +
				"SINGLE_NODE_READER_ONLY (ReadWriteOnce or ReadWriteOncePod): a volume lives on one node"}
		}
		if mount.GetFsType() == "" {
			continue
		}
		fsType, err := filesystem.ParseType(mount.GetFsType())
		if err != nil {
			return "", &fieldError{field + ".mount.fs_type", mount.GetFsType(), fmt.Sprintf("one of %v (parameter %s of the StorageClass)", filesystem.Types, v1alpha1.ParameterFSType)}
		}
		if asked != "" && asked != fsType {
			return "", &fieldError{field + ".mount.fs_type", fsType, fmt.Sprintf("one file system for all capabilities, and another asks for %s", asked)}
		}
		asked = fsType
	}
	return asked, nil
}

// checkMountOptions refuses what the node would refuse to mount with: here the claim gets an event, there the pod would hang.
func checkMountOptions(capabilities []*csi.VolumeCapability, fsType filesystem.Type) error {
	for i, capability := range capabilities {
		flags := capability.GetMount().GetMountFlags()
		if _, err := filesystem.ParseMountOptions(fsType, flags); err != nil {
			return &fieldError{fmt.Sprintf("volume_capabilities[%d].mount.mount_flags", i), strings.Join(flags, " "), err.Error() + " (mountOptions of the StorageClass)"}
		}
	}
	return nil
}
