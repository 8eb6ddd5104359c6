package csi

import (
	"context"
	"maps"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// ListVolumes lists the volumes that were made and are not gone, in the order of their names. A token tells the last name of the
// page before (page.go): it stays good whatever becomes of that volume, and no volume that is there all the time is missed or comes twice.
func (s *Service) ListVolumes(ctx context.Context, req *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	volumes, err := s.view.AllVolumes(ctx)
	if err != nil {
		return nil, asStatus(err)
	}
	made := map[string]*v1alpha1.ThinVolume{}
	for i := range volumes {
		if volumes[i].Status.ThinID != nil {
			made[volumes[i].Name] = &volumes[i]
		}
	}
	names, next, err := page(slices.Sorted(maps.Keys(made)), req.GetStartingToken(), req.GetMaxEntries())
	if err != nil {
		return nil, asStatus(err)
	}
	response := &csi.ListVolumesResponse{NextToken: next}
	for _, name := range names {
		response.Entries = append(response.Entries, &csi.ListVolumesResponse_Entry{Volume: csiVolume(made[name])})
	}
	return response, nil
}

// ControllerGetVolume tells what a volume is.
func (s *Service) ControllerGetVolume(ctx context.Context, req *csi.ControllerGetVolumeRequest) (*csi.ControllerGetVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, asStatus(&fieldError{"volume_id", "", "the handle of a volume"})
	}
	if err := volumeid.Check("volume_id", req.GetVolumeId()); err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	volume, err := s.find(ctx, req.GetVolumeId())
	if apierrors.IsNotFound(err) || err == nil && volume.Status.ThinID == nil {
		return nil, status.Errorf(codes.NotFound, "volume %q does not exist", req.GetVolumeId())
	}
	if err != nil {
		return nil, asStatus(err)
	}
	return &csi.ControllerGetVolumeResponse{Volume: csiVolume(volume), Status: &csi.ControllerGetVolumeResponse_VolumeStatus{}}, nil
}

// csiVolume is a volume as CSI has it.
func csiVolume(volume *v1alpha1.ThinVolume) *csi.Volume {
	return &csi.Volume{
		VolumeId:      volume.Name,
		CapacityBytes: view.VolumeSize(volume, 1),
		VolumeContext: contextOf(volume),
		AccessibleTopology: []*csi.Topology{{
			Segments: map[string]string{v1alpha1.TopologyKey: v1alpha1.TopologyValue(volume.Spec.NodeName)},
		}},
	}
}
