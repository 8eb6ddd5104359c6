package csi

import (
	"cmp"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/parameters"
)

// request is a CreateVolume request that was found acceptable as far as it can be without looking at the cluster.
type request struct {
	// name as a part of object names.
	name string
	pool string
	size sizeRange
	// block: pods get the device itself, and the format is empty.
	block    bool
	format   filesystem.Format
	rootMode filesystem.RootMode
	claim    parameters.Claim
	// source is what the volume begins as; nil for one that is formatted.
	source *source
	// The topology values of the nodes among which the volume may live: the first one only where preferred is set. None at
	// all means any node.
	nodes     []string
	preferred bool
}

func readRequest(req *csi.CreateVolumeRequest) (request, error) {
	name, err := requestName(req.GetName())
	if err != nil {
		return request{}, err
	}
	from, err := readSource(req)
	if err != nil {
		return request{}, err
	}
	if len(req.GetMutableParameters()) > 0 {
		return request{}, &fieldError{"mutable_parameters", "set", "nothing: VolumeAttributesClasses are not supported"}
	}
	asked, err := checkCapabilities(req.GetVolumeCapabilities(), req.GetVolumeContentSource() != nil)
	if err != nil {
		return request{}, err
	}
	class, err := readClass(req, asked)
	if err != nil {
		return request{}, err
	}
	size, err := readRange(req.GetCapacityRange(), class.Format.Type)
	if err != nil {
		return request{}, err
	}
	if from != nil {
		// What is formatted already is not formatted again.
		class.Format.Options = nil
		if from.unsized {
			size = sizeRange{} // the source's
		}
	}
	nodes, preferred, err := readTopology(req.GetAccessibilityRequirements())
	if err != nil {
		return request{}, err
	}
	return request{
		name: name, pool: class.Pool, size: size, block: asked.block, format: class.Format, rootMode: class.RootMode, claim: class.Claim, source: from,
		nodes: nodes, preferred: preferred,
	}, nil
}

// readClass reads the parameters of the class and joins them with what the capabilities ask for. The format is complete: empty
// for a block volume, whose class may be that of file systems as well.
func readClass(req *csi.CreateVolumeRequest, asked content) (parameters.Class, error) {
	if asked.block {
		class, err := parameters.Parse(req.GetParameters(), "")
		class.Format, class.RootMode = filesystem.Format{}, 0
		return class, err
	}
	class, err := parameters.Parse(req.GetParameters(), cmp.Or(asked.fsType, parameters.DefaultType))
	if err != nil {
		return parameters.Class{}, err
	}
	if asked.fsType != "" && class.Format.Type != "" && asked.fsType != class.Format.Type {
		return parameters.Class{}, &fieldError{"parameter " + v1alpha1.ParameterFSType, class.Format.Type, "the fs_type of the volume capabilities, which is " + string(asked.fsType)}
	}
	class.Format.Type = cmp.Or(class.Format.Type, asked.fsType, parameters.DefaultType)
	if req.GetVolumeContentSource() != nil {
		class.RootMode = 0 // the source's root directory has one
	}
	return class, checkMountOptions(req.GetVolumeCapabilities(), class.Format.Type)
}

// readTopology reads the nodes that a request names. csi-provisioner puts the node that the scheduler chose first among the
// preferred ones; that one counts, and no other.
func readTopology(requirement *csi.TopologyRequirement) (nodes []string, preferred bool, err error) {
	named, field := requirement.GetPreferred(), "accessibility_requirements.preferred"
	preferred = len(named) > 0
	if preferred {
		named = named[:1]
	} else {
		named, field = requirement.GetRequisite(), "accessibility_requirements.requisite"
	}
	for _, topology := range named {
		node, ok := topology.GetSegments()[v1alpha1.TopologyKey]
		if !ok || node == "" {
			return nil, false, &fieldError{field, topology.GetSegments(), "segments with the key " + v1alpha1.TopologyKey}
		}
		nodes = append(nodes, node)
	}
	return nodes, preferred, nil
}

// volume is the object that the request becomes on a node.
func (r *request) volume(node string) *v1alpha1.ThinVolume {
	volume := &v1alpha1.ThinVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:       v1alpha1.VolumeName(r.name, node),
			Labels:     map[string]string{v1alpha1.LabelPool: r.pool, v1alpha1.LabelNode: v1alpha1.TopologyValue(node)},
			Finalizers: []string{v1alpha1.VolumeFinalizer},
		},
		Spec: v1alpha1.ThinVolumeSpec{
			NodeName:    node,
			PoolName:    r.pool,
			Capacity:    *resource.NewQuantity(r.size.required, resource.BinarySI),
			VolumeMode:  r.volumeMode(),
			FSType:      string(r.format.Type),
			MkfsOptions: r.format.Options,
			RootMode:    r.rootMode.String(),
		},
	}
	if r.source != nil {
		volume.Spec.Source = r.source.reference.DeepCopy()
	}
	if r.claim.Name != "" && r.claim.Namespace != "" {
		volume.Spec.Claim = &v1alpha1.ClaimReference{Namespace: r.claim.Namespace, Name: r.claim.Name}
	}
	return volume
}

func (r *request) volumeMode() v1alpha1.VolumeMode {
	if r.block {
		return v1alpha1.VolumeModeBlock
	}
	return v1alpha1.VolumeModeFilesystem
}
