//go:build kernel

package csi

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/test/hostile"
)

// goodRequests has a row for each call of the Identity and the Node service: a request that is in order for a volume that is
// staged and in a pod. A call without a row fails the test.
var goodRequests = map[string]func(v *volume) proto.Message{
	"GetPluginInfo":         nil, // these four have no field
	"GetPluginCapabilities": nil,
	"Probe":                 nil,
	"NodeGetCapabilities":   nil,
	"NodeGetInfo":           nil,
	"NodeGetStorageHealth":  nil, // and this one only secrets
	"NodeStageVolume":       func(v *volume) proto.Message { return v.stageRequest("noatime") },
	"NodePublishVolume":     func(v *volume) proto.Message { return v.publishRequest("pod-1") },
	"NodeUnpublishVolume": func(v *volume) proto.Message {
		return &csi.NodeUnpublishVolumeRequest{VolumeId: v.id, TargetPath: v.target("pod-1")}
	},
	"NodeUnstageVolume": func(v *volume) proto.Message {
		return &csi.NodeUnstageVolumeRequest{VolumeId: v.id, StagingTargetPath: v.staging}
	},
	"NodeGetVolumeStats": func(v *volume) proto.Message {
		return &csi.NodeGetVolumeStatsRequest{VolumeId: v.id, VolumePath: v.target("pod-1"), StagingTargetPath: v.staging}
	},
	"NodeExpandVolume": func(v *volume) proto.Message {
		return &csi.NodeExpandVolumeRequest{
			VolumeId: v.id, VolumePath: v.target("pod-1"), StagingTargetPath: v.staging, VolumeCapability: v.capability(),
			CapacityRange: &csi.CapacityRange{RequiredBytes: 512 * mib, LimitBytes: 512 * mib},
		}
	},
	"NodeGetVolumeHealth": func(v *volume) proto.Message {
		return &csi.NodeGetVolumeHealthRequest{VolumeId: v.id, VolumePublishPath: v.target("pod-1"), StagingTargetPath: v.staging}
	},
}

// optional are fields that may be missing, by the call and the field.
var optional = []string{
	"NodeGetVolumeStats staging_target_path", "NodeGetVolumeHealth staging_target_path", "NodeGetVolumeHealth volume_publish_path",
	"NodeExpandVolume staging_target_path", "NodeExpandVolume volume_capability", "NodeExpandVolume capacity_range",
}

// TestHostileCalls goes through every field of every call, on a real pool: what does not belong there is refused with
// InvalidArgument and the field's name, and mounts, devices and directories are what they were before; once for a volume that
// is nowhere yet and once for one that is in a pod.
func TestHostileCalls(t *testing.T) {
	v := newFixture(t).volume("pvc-1", filesystem.Ext4)
	methods, err := hostile.Methods("Identity", "Node")
	must(t, err)
	connection := hostile.Connect(t, v.Register)
	seen := 0
	sendAll := func(t *testing.T) {
		for _, method := range methods {
			good, known := goodRequests[method.Name]
			if !known {
				t.Errorf("%s has no row in goodRequests", method.Name)
			}
			if !known || good == nil {
				continue
			}
			for _, bad := range hostile.Mutations(good(v), v.kubelet) {
				if bad.Value == `""` || bad.Kind == hostile.Missing {
					if slices.Contains(optional, method.Name+" "+bad.Field) {
						continue
					}
				}
				before := v.state()
				_, err := method.Call(v.context(), connection, bad.Request)
				if status.Code(err) == codes.Unimplemented {
					break // of all the call's requests: it is not offered, see TestOfferedCalls
				}
				seen++
				want := codes.InvalidArgument
				if method.Name == "NodeGetVolumeStats" && bad.Field == "volume_path" && bad.Value != `""` {
					want = codes.NotFound // the specification: the volume is not on that path
				}
				if status.Code(err) != want || !bad.NamesField(err.Error()) || len(err.Error()) > 5000 {
					t.Errorf("%s, %s: want %v and the field's name: %.300v", method.Name, bad, want, err)
				}
				if after := v.state(); !slices.Equal(before, after) {
					t.Fatalf("%s, %s left something: %q became %q", method.Name, bad, before, after)
				}
			}
		}
	}
	t.Run("nowhere yet", sendAll)
	must(t, v.stage("noatime"))
	must(t, v.publish("pod-1"))
	t.Run("in a pod", sendAll)
	must(t, v.unpublish("pod-1"))
	must(t, v.unstage())
	v.nothingLeft()
	if seen < 500 {
		t.Errorf("only %d requests were sent", seen)
	}
	t.Logf("%d requests were refused", seen)
}

// TestOfferedCalls: a call is answered if and only if the capabilities offer it.
func TestOfferedCalls(t *testing.T) {
	v := newFixture(t).volume("pvc-1", filesystem.Ext4)
	response, err := v.NodeGetCapabilities(context.Background(), &csi.NodeGetCapabilitiesRequest{})
	must(t, err)
	offered := map[string]bool{}
	for _, capability := range response.Capabilities {
		offered[capability.GetRpc().GetType().String()] = true
	}
	methods, err := hostile.Methods("Node")
	must(t, err)
	connection := hostile.Connect(t, v.Register)
	for _, method := range methods {
		needed, optional := map[string]string{
			"NodeStageVolume": "STAGE_UNSTAGE_VOLUME", "NodeUnstageVolume": "STAGE_UNSTAGE_VOLUME", "NodeGetVolumeStats": "GET_VOLUME_STATS",
			"NodeExpandVolume": "EXPAND_VOLUME", "NodeGetVolumeHealth": "GET_VOLUME_HEALTH", "NodeGetStorageHealth": "GET_STORAGE_HEALTH",
		}[method.Name]
		_, err := method.Call(v.context(), connection, method.NewRequest())
		if answered := status.Code(err) != codes.Unimplemented; answered != (!optional || offered[needed]) {
			t.Errorf("%s: answered is %t, offered is %t: %v", method.Name, answered, offered[needed], err)
		}
	}
}

// state is what a call can leave behind: device mapper's devices, mounts, and what is in kubelet's directory and beside it.
func (f *fixture) state() []string {
	f.t.Helper()
	var state []string
	names, err := filepath.Glob("/sys/block/dm-*/dm/name")
	must(f.t, err)
	for _, path := range names {
		name, err := os.ReadFile(path)
		must(f.t, err)
		state = append(state, "device "+strings.TrimSpace(string(name)))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(f.t, err)
	for line := range strings.Lines(string(mounts)) {
		state = append(state, "mount "+strings.TrimSpace(line))
	}
	// The volume's own files are the pod's.
	var below []string
	for _, path := range listing(f.t, filepath.Dir(f.kubelet)) {
		if !strings.Contains(path, "/mount/") && !strings.Contains(path, "/globalmount/") {
			below = append(below, "path "+path)
		}
	}
	return append(state, below...)
}
