package csi

import (
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// TestMemberNames: whatever a group and its volumes are called, each snapshot of it has a name of its own that a snapshot can have.
func TestMemberNames(t *testing.T) {
	seen := map[string]bool{}
	for _, group := range []string{"g", "groupsnapshot-0a1b2c3d-0000-1111-2222-333344445555", strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a", 80)} {
		for _, volume := range []string{"v", "w", strings.Repeat("v", 96)} {
			name := memberName(group, volume)
			if err := volumeid.CheckSnapshot("name", name); err != nil || seen[name] || name != memberName(group, volume) {
				t.Errorf("%s of %s is called %q: %v", volume, group, name, err)
			}
			seen[name] = true
		}
	}
}

// FuzzGroupRequest: no request makes a group of names that the API server or the node would not take.
func FuzzGroupRequest(f *testing.F) {
	f.Add("group-1", "pvc-1", "pvc-2")
	f.Add("../../etc", "pvc-1", "a.snapshot")
	f.Add(strings.Repeat("a", 128), "\x00", "a,b")
	f.Fuzz(func(t *testing.T, name, first, second string) {
		r, err := readGroupRequest(&csi.CreateVolumeGroupSnapshotRequest{Name: name, SourceVolumeIds: []string{first, second}})
		if err != nil {
			_ = asStatus(err)
			return
		}
		if err := volumeid.CheckSnapshot("name", r.name); err != nil {
			t.Error(err)
		}
		for _, volume := range r.volumes {
			if err := volumeid.CheckSnapshot("member", memberName(r.name, volume)); err != nil {
				t.Error(err)
			}
		}
	})
}
