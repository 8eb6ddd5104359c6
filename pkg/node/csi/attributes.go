package csi

import (
	"maps"
	"slices"
	"strings"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

const (
	// kubeletPrefix begins the keys that kubelet adds to a volume's attributes: the pod's name, whether the volume is ephemeral.
	kubeletPrefix = "csi.storage.k8s.io/"
	// provisionerKey is what csi-provisioner adds to the attributes of each PersistentVolume that it makes.
	provisionerKey = "storage.kubernetes.io/csiProvisionerIdentity"
)

// checkAttributes refuses attributes of a PersistentVolume that the driver does not know: one that is misspelt would be lost
// without a word.
func checkAttributes(attributes map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		switch {
		case key == v1alpha1.ParameterPool:
			if value := attributes[key]; value != "" {
				if err := volumeid.CheckPool(fieldVolumeContext+"["+key+"]", value); err != nil {
					return err
				}
			}
		case key == v1alpha1.ParameterRootMode: // rootMode reads it
		case key == provisionerKey, strings.HasPrefix(key, kubeletPrefix):
		default:
			return badField(fieldVolumeContext, "%.64q is not known: allowed are %s, %s, and what Kubernetes adds", key, v1alpha1.ParameterPool, v1alpha1.ParameterRootMode)
		}
	}
	return nil
}
