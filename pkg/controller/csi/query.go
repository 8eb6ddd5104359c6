package csi

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/parameters"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// ValidateVolumeCapabilities tells whether a volume has what is asked of it.
func (s *Service) ValidateVolumeCapabilities(ctx context.Context, req *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, asStatus(&fieldError{"volume_id", "", "the handle of a volume"})
	}
	if len(req.GetVolumeCapabilities()) == 0 {
		return nil, asStatus(&fieldError{"volume_capabilities", "", "at least one"})
	}
	if err := volumeid.Check("volume_id", req.GetVolumeId()); err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	volume, err := s.find(ctx, req.GetVolumeId())
	if apierrors.IsNotFound(err) {
		return nil, status.Errorf(codes.NotFound, "volume %q does not exist", req.GetVolumeId())
	}
	if err != nil {
		return nil, asStatus(err)
	}
	if message := mismatch(volume, req); message != "" {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: message}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext: req.GetVolumeContext(), VolumeCapabilities: req.GetVolumeCapabilities(), Parameters: req.GetParameters(),
	}}, nil
}

// mismatch says what a volume does not have.
func mismatch(volume *v1alpha1.ThinVolume, req *csi.ValidateVolumeCapabilitiesRequest) string {
	asked, err := checkCapabilities(req.GetVolumeCapabilities(), volume.Spec.Source != nil)
	if err != nil {
		return err.Error()
	}
	if asked.block != volume.Spec.IsBlock() {
		return "the volume mode of the volume is " + string(volume.Spec.VolumeMode)
	}
	if asked.fsType != "" && string(asked.fsType) != volume.Spec.FSType {
		return "the file system of the volume is " + volume.Spec.FSType
	}
	if err := checkMountOptions(req.GetVolumeCapabilities(), filesystem.Type(volume.Spec.FSType)); err != nil && !asked.block {
		return err.Error()
	}
	if pool := req.GetVolumeContext()[v1alpha1.ParameterPool]; pool != "" && pool != volume.Spec.PoolName {
		return "the pool of the volume is " + volume.Spec.PoolName
	}
	if len(req.GetMutableParameters()) > 0 {
		return "mutable_parameters: VolumeAttributesClasses are not supported"
	}
	return mismatchOfClass(volume, req.GetParameters())
}

// mismatchOfClass says what a volume does not have of what a class asks for. What the parameters leave out is not asked.
func mismatchOfClass(volume *v1alpha1.ThinVolume, asked map[string]string) string {
	class, err := parameters.Parse(asked, filesystem.Type(volume.Spec.FSType))
	has := func(key string) bool { _, ok := asked[key]; return ok }
	switch {
	case err != nil:
		return err.Error()
	case has(v1alpha1.ParameterPool) && class.Pool != volume.Spec.PoolName:
		return "the pool of the volume is " + volume.Spec.PoolName
	case volume.Spec.IsBlock():
		return "" // the rest says nothing of it
	case has(v1alpha1.ParameterFSType) && string(class.Format.Type) != volume.Spec.FSType:
		return "the file system of the volume is " + volume.Spec.FSType
	case volume.Spec.Source != nil:
		return "" // it was not formatted, whatever its class says
	case has(v1alpha1.ParameterMkfsOptions) && !slices.Equal(class.Format.Options, volume.Spec.MkfsOptions):
		return fmt.Sprintf("the mkfs options of the volume are %q", volume.Spec.MkfsOptions)
	case has(v1alpha1.ParameterRootMode) && class.RootMode.String() != volume.Spec.RootMode:
		return fmt.Sprintf("the root mode of the volume is %q", volume.Spec.RootMode)
	}
	return ""
}

// GetCapacity tells how much room a pool has: on the node that the topology names, or on all nodes together.
func (s *Service) GetCapacity(ctx context.Context, req *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	var asked content
	if len(req.GetVolumeCapabilities()) > 0 {
		var err error
		if asked, err = checkCapabilities(req.GetVolumeCapabilities(), true); err != nil {
			return nil, asStatus(err)
		}
	}
	// Empty for block volumes, of which the smallest has one block of the pool.
	var formatted filesystem.Type
	if !asked.block {
		formatted = cmp.Or(asked.fsType, parameters.DefaultType)
	}
	class, err := parameters.Parse(req.GetParameters(), formatted)
	if err != nil {
		return nil, asStatus(err)
	}
	if !asked.block {
		formatted = cmp.Or(class.Format.Type, formatted)
		if err := checkMountOptions(req.GetVolumeCapabilities(), formatted); err != nil {
			return nil, asStatus(err)
		}
	}
	response := &csi.GetCapacityResponse{
		MinimumVolumeSize: wrapperspb.Int64(filesystem.MinimumSize(formatted)),
		MaximumVolumeSize: wrapperspb.Int64(0),
	}
	pools, err := s.view.Pools(ctx, class.Pool)
	if err != nil {
		return nil, asStatus(err)
	}
	node, named := req.GetAccessibleTopology().GetSegments()[v1alpha1.TopologyKey]
	for i := range pools {
		if named && v1alpha1.TopologyValue(pools[i].Spec.NodeName) != node {
			continue
		}
		assessment, err := s.view.Assess(ctx, &pools[i], s.assumed.of(part{class.Pool, pools[i].Spec.NodeName}))
		if err != nil {
			return nil, asStatus(err)
		}
		room := assessment.Room()
		if response.AvailableCapacity > math.MaxInt64-room.Total {
			response.AvailableCapacity = math.MaxInt64
		} else {
			response.AvailableCapacity += room.Total
		}
		response.MaximumVolumeSize.Value = max(response.MaximumVolumeSize.Value, room.LargestVolume)
	}
	return response, nil
}
