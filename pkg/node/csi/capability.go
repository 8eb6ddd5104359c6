package csi

import (
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// supportedModes are the access modes of one node: no other node can reach the volume's pool. Pods of several nodes may read
// where the volume is.
var supportedModes = []csi.VolumeCapability_AccessMode_Mode{
	csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY,
	csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER,
}

// access is how a volume is to be used, as far as that can be told without looking at the volume.
type access struct {
	// block: the device itself is wanted, and the fields of mounts are empty.
	block bool
	// fsType is empty where the request leaves it to the volume.
	fsType       filesystem.Type
	mountFlags   []string
	readOnly     bool
	singleWriter bool
}

func parseCapability(capability *csi.VolumeCapability) (access, error) {
	const field = "volume_capability"
	if capability == nil {
		return access{}, badField(field, "it is missing")
	}
	mount := capability.GetMount()
	if mount == nil && capability.GetBlock() == nil {
		return access{}, badField(field+".access_type", "it is missing: allowed are mount and block")
	}
	mode := capability.GetAccessMode().GetMode()
	if !slices.Contains(supportedModes, mode) {
		names := make([]string, 0, len(supportedModes))
		for _, supported := range supportedModes {
			names = append(names, supported.String())
		}
		return access{}, badField(field+".access_mode", "%s is not supported: allowed are %s", mode, strings.Join(names, ", "))
	}
	reads := mode == csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY || mode == csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
	parsed := access{
		block:        mount == nil,
		mountFlags:   mount.GetMountFlags(),
		readOnly:     reads,
		singleWriter: mode == csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER,
	}
	if name := mount.GetFsType(); name != "" {
		fsType, err := filesystem.ParseType(name)
		if err != nil {
			return access{}, badField(field+".mount.fs_type", "%w", err)
		}
		parsed.fsType = fsType
	}
	if group := mount.GetVolumeMountGroup(); group != "" {
		return access{}, badField(field+".mount.volume_mount_group", "%.32q is not supported: it must be empty", group)
	}
	if parsed.fsType != "" {
		// Before anything is looked up; without a type they are checked against the volume's.
		if _, err := parsed.options(parsed.fsType); err != nil {
			return access{}, err
		}
	}
	return parsed, nil
}

// options checks the mount flags against the file system that they are for; a block volume has neither.
func (a access) options(t filesystem.Type) (filesystem.MountOptions, error) {
	if a.block {
		return filesystem.MountOptions{}, nil
	}
	options, err := filesystem.ParseMountOptions(t, a.mountFlags)
	return options, inField(fieldMountFlags, err)
}

// typeFor gives the volume's type, empty for a block volume, or refuses a request that wants another.
func (a access) typeFor(volume filesystem.Type) (filesystem.Type, error) {
	switch {
	case a.block && volume != "":
		return "", badField("volume_capability.block", "the volume was made as %q: allowed is mount", volume)
	case !a.block && volume == "":
		return "", badField("volume_capability.mount", "the volume was made as a block volume: allowed is block")
	case a.fsType != "" && a.fsType != volume:
		return "", badField("volume_capability.mount.fs_type", "%q is not the volume's: it was made as %q", a.fsType, volume)
	}
	return volume, nil
}
