package csi

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// accessModes are those that a volume of one node can have, and whether they are for reading alone. Pods of several nodes can
// read where the volume is: on its node, to which its topology brings them.
var accessModes = map[csi.VolumeCapability_AccessMode_Mode]struct{ reads bool }{
	csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER:        {},
	csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER: {},
	csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:  {},
	csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY:   {reads: true},
	csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY:    {reads: true},
}

// supportedModes is the list for people.
const supportedModes = "SINGLE_NODE_WRITER, SINGLE_NODE_SINGLE_WRITER or SINGLE_NODE_MULTI_WRITER (ReadWriteOnce or ReadWriteOncePod); " +
	"with a data source also SINGLE_NODE_READER_ONLY or MULTI_NODE_READER_ONLY (ReadOnlyMany): a volume lives on one node, and what is empty need not be read"

// checkAccessMode refuses a mode that a volume with or without a source cannot have.
func checkAccessMode(field string, mode csi.VolumeCapability_AccessMode_Mode, sourced bool) error {
	if supported, ok := accessModes[mode]; !ok || supported.reads && !sourced {
		return &fieldError{field + ".access_mode", mode, supportedModes}
	}
	return nil
}

// content is what a volume holds, as far as the capabilities that are asked of it tell.
type content struct {
	// block: pods get the device itself.
	block bool
	// fsType is empty for a block volume, and where the capabilities leave it open.
	fsType filesystem.Type
}

// checkCapabilities tells what the capabilities ask for of a volume that begins empty, or with the data of a source.
func checkCapabilities(capabilities []*csi.VolumeCapability, sourced bool) (content, error) {
	if len(capabilities) == 0 {
		return content{}, &fieldError{"volume_capabilities", "", "at least one"}
	}
	asked := content{block: capabilities[0].GetBlock() != nil}
	for i, capability := range capabilities {
		field := fmt.Sprintf("volume_capabilities[%d]", i)
		switch {
		case capability.GetMount() == nil && capability.GetBlock() == nil:
			return content{}, &fieldError{field + ".access_type", fmt.Sprintf("%T", capability.GetAccessType()), "mount or block (a PersistentVolumeClaim of volumeMode Filesystem or Block)"}
		case (capability.GetBlock() != nil) != asked.block:
			return content{}, &fieldError{field + ".access_type", fmt.Sprintf("%T", capability.GetAccessType()), "one access type for all capabilities, and another asks for another: a volume is a file system or a block device"}
		}
		if err := checkAccessMode(field, capability.GetAccessMode().GetMode(), sourced); err != nil {
			return content{}, err
		}
		fsType, err := typeAsked(field, capability.GetMount().GetFsType())
		if err != nil {
			return content{}, err
		}
		if fsType != "" && asked.fsType != "" && asked.fsType != fsType {
			return content{}, &fieldError{field + ".mount.fs_type", fsType, fmt.Sprintf("one file system for all capabilities, and another asks for %s", asked.fsType)}
		}
		asked.fsType = cmp.Or(asked.fsType, fsType)
	}
	return asked, nil
}

// typeAsked reads the file system of a capability; it may be left open.
func typeAsked(field, name string) (filesystem.Type, error) {
	if name == "" {
		return "", nil
	}
	fsType, err := filesystem.ParseType(name)
	if err != nil {
		return "", &fieldError{field + ".mount.fs_type", name, fmt.Sprintf("one of %v (parameter %s of the StorageClass)", filesystem.Types, v1alpha1.ParameterFSType)}
	}
	return fsType, nil
}

// checkMountOptions refuses what the node would refuse to mount with: here the claim gets an event, there the pod would hang.
func checkMountOptions(capabilities []*csi.VolumeCapability, fsType filesystem.Type) error {
	for i, capability := range capabilities {
		flags := capability.GetMount().GetMountFlags()
		if _, err := filesystem.ParseMountOptions(fsType, flags); err != nil {
			return &fieldError{fmt.Sprintf("volume_capabilities[%d].mount.mount_flags", i), strings.Join(flags, " "), err.Error() + " (mountOptions of the StorageClass)"}
		}
		if group := capability.GetMount().GetVolumeMountGroup(); group != "" {
			return &fieldError{fmt.Sprintf("volume_capabilities[%d].mount.volume_mount_group", i), group, "nothing: the owner of a volume's files is set by kubelet (fsGroup of the pod)"}
		}
	}
	return nil
}
