//go:build e2e

package api

import (
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// TestValidateVolumeCapabilities: what a volume has is confirmed, with what was asked; what it has not is told.
func TestValidateVolumeCapabilities(t *testing.T) {
	s := newScene(t, 1, 10*gibibyte)
	request := s.request(uniqueName("pvc"), gibibyte, s.nodes[0])
	request.Parameters[v1alpha1.ParameterRootMode] = "770"
	request.Parameters[v1alpha1.ParameterMkfsOptions] = "-m 1"
	volume := s.mustCreate(request)
	if volume.VolumeContext[v1alpha1.ParameterRootMode] != "0770" || s.volume(volume.VolumeId).Spec.RootMode != "0770" {
		t.Errorf("volume context is %v", volume.VolumeContext)
	}
	copied := s.requestFrom(fromVolume(volume.VolumeId), gibibyte, s.nodes[0])
	copied.Parameters = request.Parameters
	copied.VolumeCapabilities[0].AccessMode.Mode = csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
	reader := s.mustCreate(copied)
	if answer, err := s.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{
		VolumeId: reader.VolumeId, VolumeCapabilities: copied.VolumeCapabilities, VolumeContext: reader.VolumeContext, Parameters: copied.Parameters,
	}); err != nil || answer.Confirmed == nil {
		t.Errorf("a copy that many read: %v, %v", answer, err)
	}
	if reader.VolumeContext[v1alpha1.ParameterRootMode] != "" {
		t.Errorf("a copy is to get a root mode: %v", reader.VolumeContext)
	}
	for name, c := range map[string]struct {
		change func(*csi.ValidateVolumeCapabilitiesRequest)
		words  string // none: confirmed
	}{
		"as it was made": {func(*csi.ValidateVolumeCapabilitiesRequest) {}, ""},
		"less is asked":  {func(r *csi.ValidateVolumeCapabilitiesRequest) { r.Parameters, r.VolumeContext = nil, nil }, ""},
		"shared": {func(r *csi.ValidateVolumeCapabilitiesRequest) {
			r.VolumeCapabilities[0].AccessMode.Mode = csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER
		}, ""},
		"many readers": {func(r *csi.ValidateVolumeCapabilitiesRequest) {
			r.VolumeCapabilities[0].AccessMode.Mode = csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
		}, "with a data source"},
		"file system": {func(r *csi.ValidateVolumeCapabilitiesRequest) { r.VolumeCapabilities[0].GetMount().FsType = "xfs" }, "ext4"},
		"mount option": {func(r *csi.ValidateVolumeCapabilitiesRequest) {
			r.VolumeCapabilities[0].GetMount().MountFlags = []string{"init_itable"}
		}, "init_itable"},
		"block":        {func(r *csi.ValidateVolumeCapabilitiesRequest) { r.VolumeCapabilities[0] = blockCapability() }, "volume mode"},
		"pool":         {func(r *csi.ValidateVolumeCapabilitiesRequest) { r.VolumeContext[v1alpha1.ParameterPool] = "other" }, "pool"},
		"class's pool": {func(r *csi.ValidateVolumeCapabilitiesRequest) { r.Parameters[v1alpha1.ParameterPool] = "other" }, "pool"},
		"class's type": {func(r *csi.ValidateVolumeCapabilitiesRequest) {
			r.Parameters = map[string]string{v1alpha1.ParameterFSType: "xfs"}
		}, "file system"},
		"mkfs options":   {func(r *csi.ValidateVolumeCapabilitiesRequest) { r.Parameters[v1alpha1.ParameterMkfsOptions] = "-m 2" }, "mkfs options"},
		"root mode":      {func(r *csi.ValidateVolumeCapabilitiesRequest) { r.Parameters[v1alpha1.ParameterRootMode] = "0700" }, "root mode"},
		"what is no key": {func(r *csi.ValidateVolumeCapabilitiesRequest) { r.Parameters["csi-dm.io/colour"] = "blue" }, "csi-dm.io/colour"},
	} {
		t.Run(name, func(t *testing.T) {
			like := s.request("like", gibibyte, nil)
			asked := &csi.ValidateVolumeCapabilitiesRequest{
				VolumeId: volume.VolumeId, VolumeCapabilities: like.VolumeCapabilities, VolumeContext: map[string]string{}, Parameters: map[string]string{},
			}
			for key, value := range request.Parameters {
				asked.Parameters[key] = value
			}
			for key, value := range volume.VolumeContext {
				asked.VolumeContext[key] = value
			}
			c.change(asked)
			answer, err := s.ValidateVolumeCapabilities(t.Context(), asked)
			must(t, err)
			if confirmed := answer.Confirmed != nil; confirmed != (c.words == "") || !strings.Contains(answer.Message, c.words) {
				t.Errorf("confirmed is %v, message %q: want %q", answer.Confirmed, answer.Message, c.words)
			}
		})
	}
}
