package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"
)

// maxLabelValue is the longest label value that Kubernetes takes, in characters.
const maxLabelValue = 63

// volumeHashDigits is how much of a node name's hash a volume's name carries, in hex digits.
const volumeHashDigits = 8

// TopologyValue is a node's value under TopologyKey: its name, or a hash of it where the name is too long for a label.
// It must never change for a node name: PersistentVolumes keep it for life.
func TopologyValue(nodeName string) string {
	if len(nodeName) <= maxLabelValue {
		return nodeName
	}
	return "node-" + shortHash(nodeName, 32)
}

// NodeThinPoolName names the NodeThinPool of a pool on a node. Different pairs have different names.
func NodeThinPoolName(poolName, nodeName string) string {
	return poolName + "." + nodeNameForObject(nodeName)
}

// VolumeName names the ThinVolume of a CreateVolume request on a node: the same request on another node is another volume,
// so that a copy that was withdrawn there can never be taken for this one. The request name must be a DNS subdomain of at
// most 80 characters, which the CSI service checks.
func VolumeName(requestName, nodeName string) string {
	return requestName + "-" + shortHash(nodeName, volumeHashDigits)
}

// nodeNameForObject fits a node name (at most 253 characters) beside a pool's name (at most 40) into an object's name.
func nodeNameForObject(nodeName string) string {
	const longest = 253 - 40 - 1
	if len(nodeName) <= longest {
		return nodeName
	}
	return "node-" + shortHash(nodeName, 32)
}

func shortHash(text string, hexDigits int) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:hexDigits]
}

// RequestOfVolume is the request name that VolumeName made a volume's name of, or empty for a name that it did not make.
func RequestOfVolume(volumeName string) string {
	const suffix = 1 + volumeHashDigits
	if len(volumeName) <= suffix || volumeName[len(volumeName)-suffix] != '-' {
		return ""
	}
	return volumeName[:len(volumeName)-suffix]
}
