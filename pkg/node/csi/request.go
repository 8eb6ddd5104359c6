package csi

import (
	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
)

// Names of request fields, as the CSI specification has them.
const (
	fieldVolumeID      = "volume_id"
	fieldStagingPath   = "staging_target_path"
	fieldTargetPath    = "target_path"
	fieldVolumePath    = "volume_path"
	fieldPublishPath   = "volume_publish_path"
	fieldVolumeContext = "volume_context"
	fieldMountFlags    = "volume_capability.mount.mount_flags"
	fieldCapacityRange = "capacity_range"
)

// checkPath refuses a path that is not below kubelet's directory, as far as its text tells.
func (n *Node) checkPath(field, path string) error {
	return inField(field, n.config.Kubelet.Check(path))
}

// rootMode reads from the volume's context which mode its root directory begins with; it may say nothing.
func rootMode(volumeContext map[string]string) (filesystem.RootMode, error) {
	text, ok := volumeContext[v1alpha1.ParameterRootMode]
	if !ok {
		return 0, nil
	}
	mode, err := filesystem.ParseRootMode(text)
	if err != nil {
		return 0, badField(fieldVolumeContext+"["+v1alpha1.ParameterRootMode+"]", "%w", err)
	}
	return mode, nil
}

// find looks the volume up. The context names its pool; it may be missing (a PersistentVolume made by hand).
func (n *Node) find(volume string, volumeContext map[string]string) (pools.Located, error) {
	if err := checkAttributes(volumeContext); err != nil {
		return pools.Located{}, err
	}
	return n.config.Pools.Find(volume, volumeContext[v1alpha1.ParameterPool])
}
