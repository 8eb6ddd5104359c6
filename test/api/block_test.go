//go:build e2e

package api

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

func blockCapability() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	}
}

// TestBlockVolume: a request for a block volume becomes a ThinVolume without a file system, of any size and of a class that is
// for file systems as well; the volume answers to that request and to no other.
func TestBlockVolume(t *testing.T) {
	s := newScene(t, 1, 10*gibibyte)
	request := s.request(uniqueName("pvc"), 4096, s.nodes[0])
	request.VolumeCapabilities = []*csi.VolumeCapability{blockCapability()}
	request.Parameters[v1alpha1.ParameterMkfsOptions] = "-i size=1024"
	volume := s.mustCreate(request)
	if volume.CapacityBytes != blockSize {
		t.Errorf("capacity is %d, want %d: a whole block", volume.CapacityBytes, blockSize)
	}
	spec := s.volume(volume.VolumeId).Spec
	if spec.VolumeMode != v1alpha1.VolumeModeBlock || spec.FSType != "" || spec.MkfsOptions != nil {
		t.Errorf("spec is %+v", spec)
	}
	if again := s.mustCreate(request); again.VolumeId != volume.VolumeId {
		t.Errorf("the repeated request gave %q", again.VolumeId)
	}
	mounted := s.request(request.Name, 1, s.nodes[0])
	mounted.CapacityRange = &csi.CapacityRange{LimitBytes: gibibyte}
	if _, err := s.create(mounted); status.Code(err) != codes.AlreadyExists {
		t.Errorf("the same name, mounted: %v", err)
	}

	for capability, confirmed := range map[*csi.VolumeCapability]bool{blockCapability(): true, mounted.VolumeCapabilities[0]: false} {
		answer, err := s.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{
			VolumeId: volume.VolumeId, VolumeCapabilities: []*csi.VolumeCapability{capability},
		})
		must(t, err)
		if (answer.Confirmed != nil) != confirmed || (answer.Message == "") != confirmed {
			t.Errorf("%v: %+v", capability, answer)
		}
	}
}
