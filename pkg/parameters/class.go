package parameters

import (
	"maps"
	"slices"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// Class is what a StorageClass asks of each of its volumes.
type Class struct {
	// Pool is the ThinPool's name.
	Pool string
	// Format is the file system and the mkfs options, which are checked. Its type is empty where the class names none.
	Format filesystem.Format
	// RootMode is the mode that the root directory of a fresh volume begins with; 0 where the class says nothing.
	RootMode filesystem.RootMode
	// Claim is the claim that the volume is made for; its fields are empty where the caller did not tell.
	Claim Claim
}

// Claim is what csi-provisioner's --extra-create-metadata adds to a class's parameters.
type Claim struct {
	Namespace        string
	Name             string
	PersistentVolume string
}

// The keys of --extra-create-metadata, defined by csi-provisioner.
const (
	keyClaimName      = "csi.storage.k8s.io/pvc/name"
	keyClaimNamespace = "csi.storage.k8s.io/pvc/namespace"
	keyVolumeName     = "csi.storage.k8s.io/pv/name"
)

// DefaultType is the file system of a volume whose StorageClass names none.
const DefaultType = filesystem.Ext4

// classKeys are the keys that an admin may use.
var classKeys = []string{v1alpha1.ParameterPool, v1alpha1.ParameterMkfsOptions, v1alpha1.ParameterFSType, v1alpha1.ParameterRootMode}

// Parse reads the parameters of a CreateVolume or GetCapacity request. The error is an *Error, an
// *UnknownKeyError or a *volumeid.Error.
// defaultType is the file system that mkfs options are for where the parameters name none. It is empty for a block volume, on
// which a class may have such options and none is looked at: whose they are csi-provisioner does not tell then.
func Parse(parameters map[string]string, defaultType filesystem.Type) (Class, error) {
	class := Class{Pool: PoolName(parameters)}
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		value := parameters[key]
		switch key {
		case v1alpha1.ParameterPool:
			if err := volumeid.CheckPool("parameter "+key, value); err != nil {
				return Class{}, err
			}
		case v1alpha1.ParameterFSType:
			fsType, err := ParseType(key, value)
			if err != nil {
				return Class{}, err
			}
			class.Format.Type = fsType
		case v1alpha1.ParameterRootMode:
			mode, err := filesystem.ParseRootMode(value)
			if err != nil {
				return Class{}, &Error{key, value, filesystem.RootModeHelp}
			}
			class.RootMode = mode
		case v1alpha1.ParameterMkfsOptions: // below: they depend on the file system
		case keyClaimName:
			class.Claim.Name = value
		case keyClaimNamespace:
			class.Claim.Namespace = value
		case keyVolumeName:
			class.Claim.PersistentVolume = value
		default:
			return Class{}, &UnknownKeyError{Key: key, Allowed: classKeys}
		}
	}
	if text, ok := parameters[v1alpha1.ParameterMkfsOptions]; ok && defaultType != "" {
		formatted := class.Format.Type
		if formatted == "" {
			formatted = defaultType
		}
		options, err := filesystem.ParseMkfsOptions(formatted, text)
		if err != nil {
			return Class{}, &Error{v1alpha1.ParameterMkfsOptions, text, err.Error()}
		}
		class.Format.Options = options
	}
	return class, nil
}

// ParseType reads a file system type; key says in the error where it came from.
func ParseType(key, value string) (filesystem.Type, error) {
	fsType, err := filesystem.ParseType(value)
	if err != nil {
		return "", &Error{key, value, supportedTypes()}
	}
	return fsType, nil
}

// PoolName is the pool that a class's volumes come from, whatever else is wrong with its parameters.
func PoolName(parameters map[string]string) string {
	if name, ok := parameters[v1alpha1.ParameterPool]; ok {
		return name
	}
	return v1alpha1.DefaultPoolName
}

func supportedTypes() string {
	text := "supported are"
	for i, fsType := range filesystem.Types {
		if i > 0 {
			text += ","
		}
		text += " " + string(fsType)
	}
	return text
}
