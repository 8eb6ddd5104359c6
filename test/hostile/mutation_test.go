package hostile

import (
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
)

// TestMutations: each field of a request, nested ones too, is gone through; the good request stays as it is, and no mutation is
// equal to it.
func TestMutations(t *testing.T) {
	good := &csi.NodePublishVolumeRequest{
		VolumeId: "pvc-1", StagingTargetPath: "/dir/staging", TargetPath: "/dir/target", VolumeContext: map[string]string{"csi-dm.io/pool": "default"},
		VolumeCapability: &csi.VolumeCapability{
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: "ext4"}},
		},
	}
	before := proto.Clone(good)
	fields := map[string]int{}
	for _, mutation := range Mutations(good, "/dir") {
		fields[mutation.Field]++
		if proto.Equal(mutation.Request, good) {
			t.Errorf("%s: nothing was changed", mutation)
		}
		if !mutation.NamesField("x: " + mutation.Field + " is bad") {
			t.Errorf("%s: its own field does not name it", mutation)
		}
		if mutation.NamesField("something is bad") {
			t.Errorf("%s: anything names it", mutation)
		}
	}
	if !proto.Equal(before, good) {
		t.Error("the good request was changed")
	}
	for field, least := range map[string]int{
		"volume_id": 10, "staging_target_path": 10, "target_path": 10, "volume_context[csi-dm.io/pool]": 5, "volume_context[csi-dm.io/colour]": 1,
		"volume_capability": 1, "volume_capability.mount": 1, "volume_capability.mount.fs_type": 5, "volume_capability.mount.mount_flags": 5,
		"volume_capability.mount.volume_mount_group": 5, "volume_capability.access_mode": 1, "volume_capability.access_mode.mode": 1,
	} {
		if fields[field] < least {
			t.Errorf("%d mutations of %s, want %d at least", fields[field], field, least)
		}
	}
	for field := range fields {
		if strings.HasPrefix(field, "secrets") || strings.HasPrefix(field, "publish_context") {
			t.Errorf("%s is gone through, which no driver reads", field)
		}
	}
}

func TestMethods(t *testing.T) {
	methods, err := Methods("Identity", "Controller", "GroupController", "Node")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, method := range methods {
		if names[method.Name] {
			t.Errorf("there are two %s", method.Name)
		}
		names[method.Name] = true
		if method.NewRequest() == nil {
			t.Errorf("%s has no request", method.Name)
		}
	}
	for _, name := range []string{"Probe", "CreateVolume", "CreateVolumeGroupSnapshot", "NodeStageVolume", "NodeGetStorageHealth"} {
		if !names[name] {
			t.Errorf("%s is missing", name)
		}
	}
	if _, err := Methods("Nothing"); err == nil {
		t.Error("a service that there is not was found")
	}
}
