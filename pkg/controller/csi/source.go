package csi

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// source is what a CreateVolume request wants its volume to begin as.
type source struct {
	reference v1alpha1.VolumeSource
	// asked is the file system that the request names, or empty.
	asked filesystem.Type
	// capabilities are the request's, for their mount options.
	capabilities []*csi.VolumeCapability
	// unsized is set where the request leaves the size to the driver.
	unsized bool
	// allowed are the topology values of the nodes that the request allows; none at all means any node.
	allowed []string
	// settled is set once the request was fitted to what the source is.
	settled bool
}

// readSource reads the source of a request; it is nil for a request without one.
func readSource(req *csi.CreateVolumeRequest) (*source, error) {
	content := req.GetVolumeContentSource()
	if content == nil {
		return nil, nil
	}
	s := &source{capabilities: req.GetVolumeCapabilities(), unsized: req.GetCapacityRange() == nil}
	switch {
	case content.GetSnapshot() != nil:
		const field = "volume_content_source.snapshot.snapshot_id"
		s.reference.SnapshotName = content.GetSnapshot().GetSnapshotId()
		if err := volumeid.CheckSnapshot(field, s.reference.SnapshotName); err != nil {
			return nil, err
		}
	case content.GetVolume() != nil:
		const field = "volume_content_source.volume.volume_id"
		s.reference.VolumeName = content.GetVolume().GetVolumeId()
		if err := volumeid.Check(field, s.reference.VolumeName); err != nil {
			return nil, err
		}
	default:
		return nil, &fieldError{"volume_content_source.type", fmt.Sprintf("%T", content.GetType()), "snapshot or volume"}
	}
	asked, err := checkCapabilities(req.GetVolumeCapabilities(), true)
	if err != nil {
		return nil, err
	}
	s.asked = asked.fsType
	if named, ok := req.GetParameters()[v1alpha1.ParameterFSType]; ok && s.asked == "" && !asked.block {
		s.asked = filesystem.Type(named)
	}
	for i, topology := range req.GetAccessibilityRequirements().GetRequisite() {
		node := topology.GetSegments()[v1alpha1.TopologyKey]
		if node == "" {
			return nil, &fieldError{fmt.Sprintf("accessibility_requirements.requisite[%d]", i), topology.GetSegments(), "segments with the key " + v1alpha1.TopologyKey}
		}
		s.allowed = append(s.allowed, node)
	}
	return s, nil
}

func (s *source) String() string {
	if s.reference.SnapshotName != "" {
		return fmt.Sprintf("snapshot %q", s.reference.SnapshotName)
	}
	return fmt.Sprintf("volume %q", s.reference.VolumeName)
}

// content is the source as CSI has it, for the answer, which must repeat it.
func (s *source) content() *csi.VolumeContentSource {
	switch {
	case s == nil:
		return nil
	case s.reference.SnapshotName != "":
		return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
			Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: s.reference.SnapshotName},
		}}
	}
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
		Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: s.reference.VolumeName},
	}}
}

// origin is what the cluster knows of a source.
type origin struct {
	node, pool string
	fsType     string
	size       int64 // bytes
}

// origin looks a source up. It must be there, and be complete.
func (s *Service) origin(ctx context.Context, from *source) (origin, error) {
	if from.reference.SnapshotName != "" {
		return s.originSnapshot(ctx, from)
	}
	volume, err := s.find(ctx, from.reference.VolumeName)
	switch {
	case apierrors.IsNotFound(err):
		return origin{}, &notFoundError{fmt.Sprintf("volume_content_source: %s does not exist", from)}
	case err != nil:
		return origin{}, err
	case volume.DeletionTimestamp != nil:
		return origin{}, &notFoundError{fmt.Sprintf("volume_content_source: %s is being deleted", from)}
	case !apimeta.IsStatusConditionTrue(volume.Status.Conditions, v1alpha1.ConditionReady):
		return origin{}, &inUseError{fmt.Sprintf("volume_content_source: %s is not ready: %s", from, lastWord(volume.Status.Conditions))}
	}
	return origin{volume.Spec.NodeName, volume.Spec.PoolName, volume.Spec.FSType, view.VolumeSize(volume, 1)}, nil
}

func (s *Service) originSnapshot(ctx context.Context, from *source) (origin, error) {
	snapshot, err := findObject[v1alpha1.ThinSnapshot](ctx, s, from.reference.SnapshotName)
	switch {
	case apierrors.IsNotFound(err):
		return origin{}, &notFoundError{fmt.Sprintf("volume_content_source: %s does not exist", from)}
	case err != nil:
		return origin{}, err
	case snapshot.DeletionTimestamp != nil:
		return origin{}, &notFoundError{fmt.Sprintf("volume_content_source: %s is being deleted", from)}
	case !isTaken(snapshot):
		return origin{}, &inUseError{fmt.Sprintf("volume_content_source: %s is not taken yet: %s", from, lastWord(snapshot.Status.Conditions))}
	}
	return origin{snapshot.Spec.NodeName, snapshot.Spec.PoolName, snapshot.Spec.FSType, view.SnapshotSize(snapshot, 1)}, nil
}

// settle fits a request to what its source is: the pool and the file system must be the source's, and the size at least as large.
func (r *request) settle(from origin) error {
	switch {
	case from.pool != r.pool:
		return &fieldError{"parameter " + v1alpha1.ParameterPool, r.pool, fmt.Sprintf("%q, the pool of %s: its data is there", from.pool, r.source)}
	case r.block && from.fsType != "":
		return &fieldError{"volume_capabilities[0].access_type", "block", fmt.Sprintf("mount: %s has a file system (volumeMode Filesystem)", r.source)}
	case !r.block && from.fsType == "":
		return &fieldError{"volume_capabilities[0].access_type", "mount", fmt.Sprintf("block: %s has no file system (volumeMode Block)", r.source)}
	case r.source.asked != "" && string(r.source.asked) != from.fsType:
		return &fieldError{"parameter " + v1alpha1.ParameterFSType, r.source.asked, fmt.Sprintf("%q, that of %s", from.fsType, r.source)}
	}
	r.format = filesystem.Format{Type: filesystem.Type(from.fsType)}
	if !r.block {
		if err := checkMountOptions(r.source.capabilities, r.format.Type); err != nil {
			return err
		}
	}
	if r.source.unsized || r.size.required < from.size {
		r.size.required = from.size
	}
	if r.size.limit != 0 && r.size.limit < from.size {
		return &rangeError{fieldError{"capacity_range.limit_bytes", r.size.limit, fmt.Sprintf("at least the %d bytes of %s", from.size, r.source)}}
	}
	r.source.settled = true
	return nil
}
