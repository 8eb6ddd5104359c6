package csi

import (
	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// Names of request fields, as the CSI specification has them.
const (
	fieldVolumeID      = "volume_id"
	fieldStagingPath   = "staging_target_path"
	fieldTargetPath    = "target_path"
	fieldVolumePath    = "volume_path"
	fieldVolumeContext = "volume_context"
)

// checkPath refuses a path that is not below kubelet's directory, as far as its text tells.
func (n *Node) checkPath(field, path string) error {
	return inField(field, n.config.Kubelet.Check(path))
}

// find looks the volume up. The context names its pool; it may be missing (a PersistentVolume made by hand).
func (n *Node) find(volume string, volumeContext map[string]string) (pools.Located, error) {
	hint := volumeContext[v1alpha1.ParameterPool]
	if hint != "" {
		if err := volumeid.CheckPool(fieldVolumeContext+"["+v1alpha1.ParameterPool+"]", hint); err != nil {
			return pools.Located{}, err
		}
	}
	return n.config.Pools.Find(volume, hint)
}
