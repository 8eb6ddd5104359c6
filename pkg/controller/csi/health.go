package csi

import (
	"context"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/volumehealth"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// ControllerGetVolumeHealth tells what is wrong with a volume, by what its node has reported and by what is known of that node.
func (s *Service) ControllerGetVolumeHealth(ctx context.Context, req *csi.ControllerGetVolumeHealthRequest) (*csi.ControllerGetVolumeHealthResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, asStatus(&fieldError{"volume_id", "", "the handle of a volume"})
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
	problems, err := s.view.Health().Of(ctx, volume)
	if err != nil {
		return nil, asStatus(err)
	}
	return &csi.ControllerGetVolumeHealthResponse{VolumeHealth: volumehealth.Volume(volume.Name, problems)}, nil
}

// healthToken begins the tokens of the list: what follows is the name of the last volume of the page before.
const healthToken = "after:"

// ControllerListVolumeHealth lists the volumes with which something is wrong, in order of their names, so that a volume that is
// abnormal all the time is on exactly one page whatever comes and goes meanwhile.
func (s *Service) ControllerListVolumeHealth(ctx context.Context, req *csi.ControllerListVolumeHealthRequest) (*csi.ControllerListVolumeHealthResponse, error) {
	limit := int(req.GetMaxEntries())
	if limit < 0 {
		return nil, asStatus(&fieldError{"max_entries", limit, "0 (no limit) or more"})
	}
	after, err := readHealthToken(req.GetStartingToken())
	if err != nil {
		return nil, err
	}
	volumes, err := s.view.AllVolumes(ctx)
	if err != nil {
		return nil, asStatus(err)
	}
	order := make([]*v1alpha1.ThinVolume, 0, len(volumes))
	for i := range volumes {
		if volumes[i].Name > after {
			order = append(order, &volumes[i])
		}
	}
	slices.SortFunc(order, func(a, b *v1alpha1.ThinVolume) int { return strings.Compare(a.Name, b.Name) })
	response, health := &csi.ControllerListVolumeHealthResponse{}, s.view.Health()
	for _, volume := range order {
		problems, err := health.Of(ctx, volume)
		if err != nil {
			return nil, asStatus(err)
		}
		if len(problems) == 0 {
			continue
		}
		if limit > 0 && len(response.Entries) == limit {
			response.NextToken = healthToken + response.Entries[limit-1].VolumeId
			break
		}
		response.Entries = append(response.Entries, volumehealth.Volume(volume.Name, problems))
	}
	return response, nil
}

// readHealthToken gives the name that a page begins after. Another token than one that was given out is ABORTED, as the
// specification has it.
func readHealthToken(token string) (after string, err error) {
	if token == "" {
		return "", nil
	}
	after, ok := strings.CutPrefix(token, healthToken)
	if !ok || volumeid.Check("starting_token", after) != nil {
		return "", status.Errorf(codes.Aborted, "starting_token: %.64q is not allowed: nothing, or the next_token of the page before", token)
	}
	return after, nil
}
