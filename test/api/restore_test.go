//go:build e2e

package api

import (
	"fmt"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

func fromSnapshot(id string) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: id}}}
}

func fromVolume(id string) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: id}}}
}

// requestFrom is a request for a volume that begins as something else.
func (s *scene) requestFrom(source *csi.VolumeContentSource, size int64, node *standIn) *csi.CreateVolumeRequest {
	request := s.request(uniqueName("pvc"), size, node)
	request.VolumeContentSource = source
	return request
}

// TestRestoreAndClone: a volume with a source is made on the source's node though another one is preferred, says what it was made
// from, and is the same when the request is repeated, also after the source is gone.
func TestRestoreAndClone(t *testing.T) {
	s := newScene(t, 2, 20*gibibyte)
	home, other := s.nodes[0], s.nodes[1]
	volume := s.mustCreate(s.request(uniqueName("pvc"), gibibyte+1, home)).VolumeId
	snapshot := s.mustSnapshot(uniqueName("snapshot"), volume).SnapshotId
	for _, source := range []*csi.VolumeContentSource{fromSnapshot(snapshot), fromVolume(volume)} {
		request := s.requestFrom(source, 2*gibibyte, other)
		request.Parameters[v1alpha1.ParameterMkfsOptions] = "-m 0" // of the class, which formats nothing here
		made := s.mustCreate(request)
		if node := made.AccessibleTopology[0].Segments[v1alpha1.TopologyKey]; node != home.name || made.VolumeId != v1alpha1.VolumeName(request.Name, home.name) {
			t.Errorf("%v: volume %s is on %s, its source on %s", source, made.VolumeId, node, home.name)
		}
		if !proto.Equal(made.ContentSource, source) || made.CapacityBytes != 2*gibibyte {
			t.Errorf("%v: the answer is %v", source, made)
		}
		spec := s.volume(made.VolumeId).Spec
		if spec.Source == nil || spec.Source.SnapshotName != source.GetSnapshot().GetSnapshotId() || spec.Source.VolumeName != source.GetVolume().GetVolumeId() || len(spec.MkfsOptions) > 0 {
			t.Errorf("%v: spec is %+v", source, spec)
		}
		if writes := writes(t, "thinvolumes", made.VolumeId); len(writes) != 2 {
			t.Errorf("%v: writes from CreateVolume to ready:\n%s\nwant two", source, describe(writes))
		}
		// Without a size, and in the source's whole blocks.
		same := s.requestFrom(source, gibibyte+1, other)
		if made := s.mustCreate(same); made.CapacityBytes != gibibyte+blockSize {
			t.Errorf("%v: %d bytes", source, made.CapacityBytes)
		}
		unsized := s.requestFrom(source, 0, nil)
		unsized.CapacityRange = nil
		if made := s.mustCreate(unsized); made.CapacityBytes != gibibyte+blockSize || s.volume(made.VolumeId).Spec.NodeName != home.name {
			t.Errorf("%v: without a size the volume is %v", source, made)
		}
		plain := proto.Clone(request).(*csi.CreateVolumeRequest)
		plain.VolumeContentSource = nil
		plain.AccessibilityRequirements.Preferred[0] = topology(home)
		_, err := s.create(plain)
		expectRefusal(t, err, codes.AlreadyExists, made.VolumeId)
		defer func() {
			if again := s.mustCreate(request); !proto.Equal(again, made) {
				t.Errorf("%v: after the source is gone the volume is %v, it was %v", source, again, made)
			}
		}()
	}
	must(t, s.deleteSnapshot(snapshot))
	must(t, s.delete(volume))
	if plain := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, other)); s.volume(plain.VolumeId).Spec.NodeName != other.name {
		t.Error("a volume without a source was moved")
	}
}

// TestBadSources: what does not fit the source is refused, by a message that names the field.
func TestBadSources(t *testing.T) {
	s := newScene(t, 2, 20*gibibyte)
	elsewhere := newScene(t, 1, 20*gibibyte)
	volume := s.mustCreate(s.request(uniqueName("pvc"), 2*gibibyte, s.nodes[0])).VolumeId
	source := fromSnapshot(s.mustSnapshot(uniqueName("snapshot"), volume).SnapshotId)
	for name, bad := range map[string]struct {
		change func(*csi.CreateVolumeRequest)
		code   codes.Code
		words  []string
	}{
		"another file system": {func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities[0].GetMount().FsType = "xfs" }, codes.InvalidArgument, []string{v1alpha1.ParameterFSType, "xfs", "ext4"}},
		"another pool":        {func(r *csi.CreateVolumeRequest) { r.Parameters[v1alpha1.ParameterPool] = elsewhere.pool }, codes.InvalidArgument, []string{v1alpha1.ParameterPool, elsewhere.pool, s.pool}},
		"too small a limit": {func(r *csi.CreateVolumeRequest) {
			r.CapacityRange = &csi.CapacityRange{RequiredBytes: gibibyte, LimitBytes: 2*gibibyte - 1}
		}, codes.OutOfRange, []string{"capacity_range.limit_bytes", fmt.Sprint(2 * gibibyte)}},
		"node not allowed": {func(r *csi.CreateVolumeRequest) {
			r.AccessibilityRequirements.Requisite = []*csi.Topology{topology(s.nodes[1])}
		}, codes.ResourceExhausted, []string{s.nodes[0].name, "requisite"}},
		"no node": {func(r *csi.CreateVolumeRequest) {
			r.AccessibilityRequirements.Requisite = []*csi.Topology{{Segments: map[string]string{"zone": "a"}}}
		}, codes.InvalidArgument, []string{"accessibility_requirements.requisite[0]", v1alpha1.TopologyKey}},
	} {
		request := s.requestFrom(source, 2*gibibyte, s.nodes[1])
		bad.change(request)
		_, err := s.create(request)
		t.Run(name, func(t *testing.T) { expectRefusal(t, err, bad.code, bad.words...) })
	}
}

// TestNoRoomAtSource: where the node that has the data has no room, the refusal says which node that is and how much room is left.
func TestNoRoomAtSource(t *testing.T) {
	s := newScene(t, 2, 4*gibibyte)
	home, other := s.nodes[0], s.nodes[1]
	volume := s.mustCreate(s.request(uniqueName("pvc"), 2*gibibyte, home)).VolumeId
	snapshot := s.mustSnapshot(uniqueName("snapshot"), volume).SnapshotId
	for _, source := range []*csi.VolumeContentSource{fromSnapshot(snapshot), fromVolume(volume)} {
		request := s.requestFrom(source, 2*gibibyte, other)
		_, err := s.create(request)
		expectRefusal(t, err, codes.ResourceExhausted, home.name, s.pool, fmt.Sprint(2*gibibyte), "the largest volume that it can take has 0 bytes", "on this node and on no other")
		for _, node := range s.nodes {
			if left := volumeOn(node.name); exists(t, renamed(left, v1alpha1.VolumeName(request.Name, node.name))) {
				t.Errorf("volume %s is left", left.Name)
			}
		}
	}
	must(t, s.deleteSnapshot(snapshot))
	s.awaitCapacity(home, 2*gibibyte)
	s.mustCreate(s.requestFrom(fromVolume(volume), 2*gibibyte, other))
}

func renamed(volume *v1alpha1.ThinVolume, name string) *v1alpha1.ThinVolume {
	volume.Name = name
	return volume
}
