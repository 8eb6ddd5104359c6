//go:build e2e

package api

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// pages reads the list page by page and gives the names of the scene's volumes in the order in which they came.
func (s *scene) pages(size int32, between func(page int)) []string {
	s.Helper()
	var names []string
	token := ""
	for page := 0; ; page++ {
		response, err := s.ListVolumes(s.Context(), &csi.ListVolumesRequest{MaxEntries: size, StartingToken: token})
		must(s.T, err)
		if size > 0 && len(response.Entries) > int(size) {
			s.Fatalf("a page of at most %d has %d entries", size, len(response.Entries))
		}
		for _, entry := range response.Entries {
			if entry.Volume.VolumeContext[v1alpha1.ParameterPool] == s.pool {
				names = append(names, entry.Volume.VolumeId)
			}
		}
		if token = response.NextToken; token == "" {
			return names
		}
		between(page)
	}
}

// TestListVolumes: pages of any size give every volume once; tokens outlive changes of the list.
func TestListVolumes(t *testing.T) {
	const count = 7
	s := newScene(t, 2, 20*gibibyte)
	prefix := uniqueName("list")
	var ids []string
	for i := range count {
		ids = append(ids, s.mustCreate(s.request(prefix+"-"+string(rune('a'+i)), gibibyte, s.nodes[i%2])).VolumeId)
	}
	// One that is asked for and not made is none yet.
	s.nodes[0].decide(sleeps)
	pending := volumeOn(s.nodes[0].name)
	pending.Name, pending.Spec.PoolName = prefix+"-c-pending", s.pool
	must(t, suite.Create(t.Context(), pending))
	await(t, "the list to show all volumes", func(context.Context) string {
		if names := s.pages(0, nil); !slices.Equal(names, ids) { //nolint:contextcheck // it works under the test's own context
			return "it shows " + strings.Join(names, " ")
		}
		return ""
	})
	nothing := func(int) {}
	for size := int32(1); size <= count+1; size++ {
		if names := s.pages(size, nothing); !slices.Equal(names, ids) {
			t.Errorf("in pages of %d: %v, want %v", size, names, ids)
		}
	}
	response, err := s.ListVolumes(t.Context(), &csi.ListVolumesRequest{})
	must(t, err)
	for _, entry := range response.Entries {
		if v := entry.Volume; v.VolumeId == ids[1] && (v.CapacityBytes != gibibyte || v.AccessibleTopology[0].Segments[v1alpha1.TopologyKey] != s.nodes[1].name) {
			t.Errorf("entry is %v", v)
		}
	}

	// The volume that a token names goes, and others with it: those that stay come once all the same.
	const token = "after:" // begins each
	first, err := s.ListVolumes(t.Context(), &csi.ListVolumesRequest{MaxEntries: 1, StartingToken: token + ids[1]})
	must(t, err)
	if first.NextToken != token+ids[2] {
		t.Fatalf("the token is %q, want %q", first.NextToken, token+ids[2])
	}
	for _, id := range []string{ids[0], ids[2], ids[3]} {
		must(t, s.delete(id))
		awaitGone(t, &v1alpha1.ThinVolume{ObjectMeta: metav1.ObjectMeta{Name: id}})
	}
	await(t, "the rest of the list without what was deleted", func(ctx context.Context) string {
		rest, err := s.ListVolumes(ctx, &csi.ListVolumesRequest{MaxEntries: 1, StartingToken: first.NextToken})
		must(t, err)
		if len(rest.Entries) != 1 || rest.Entries[0].Volume.VolumeId != ids[4] {
			return rest.String()
		}
		return ""
	})

	for token, bad := range map[string]bool{token + "zzz": false, "zzz": true, ids[4]: true, token: true, "../x": true, "a\nb": true, strings.Repeat("a", 10_000): true, "-": true} {
		_, err := s.ListVolumes(t.Context(), &csi.ListVolumesRequest{StartingToken: token})
		if bad {
			expectRefusal(t, err, codes.Aborted, "starting_token")
		} else if err != nil {
			t.Errorf("token %q: %v", token, err)
		}
	}
	_, err = s.ListVolumes(t.Context(), &csi.ListVolumesRequest{MaxEntries: -1})
	expectRefusal(t, err, codes.InvalidArgument, "max_entries", "-1")
}

// TestControllerGetVolume: what a volume is, as CreateVolume answered, with its size after a growth.
func TestControllerGetVolume(t *testing.T) {
	s := newScene(t, 1, 4*gibibyte)
	made := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, s.nodes[0]))
	get := func(id string) (*csi.Volume, error) {
		response, err := s.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: id})
		if err == nil && response.Status == nil {
			t.Error("there is no status, which CSI requires")
		}
		return response.GetVolume(), err
	}
	volume, err := get(made.VolumeId)
	must(t, err)
	if volume.String() != made.String() {
		t.Errorf("got %v, want %v", volume, made)
	}
	s.mustExpand(made.VolumeId, 2*gibibyte)
	if volume, err = get(made.VolumeId); err != nil || volume.CapacityBytes != 2*gibibyte {
		t.Errorf("grown: %v, %v", volume, err)
	}
	must(t, s.delete(made.VolumeId))
	for _, id := range []string{made.VolumeId, "pvc-unknown", "../../etc/passwd"} {
		_, err := get(id)
		expectRefusal(t, err, codes.NotFound)
	}
	_, err = get("")
	expectRefusal(t, err, codes.InvalidArgument, "volume_id")
}
