package csi

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/hostile"
)

// FuzzRequests: whatever bytes come as a request of any call of the Identity and the Node service, nothing panics, the code is one
// that the specification has, and no device and no directory is left. The pool is one that has failed: behind it is a real kernel,
// which the kernel tests ask.
func FuzzRequests(f *testing.F) {
	methods, err := hostile.Methods("Identity", "Node")
	if err != nil {
		f.Fatal(err)
	}
	hostile.Seed(f, methods, goodRequest)
	f.Fuzz(func(t *testing.T, number uint8, text []byte) {
		n, pool, kubelet := newBroken(t)
		pool.activate = &thinpool.Error{Op: "activate", Pool: "test", Volume: "pvc-1", Err: thinpool.ErrPoolFailed}
		method := methods[int(number)%len(methods)]
		request := method.Decode(text, kubelet)
		if request == nil {
			return
		}
		before := listing(t, filepath.Dir(kubelet))
		_, err := method.Call(t.Context(), hostile.Connect(t, n.Register), request)
		if !hostile.Allowed(status.Code(err)) {
			t.Errorf("%s: %v", method.Name, err)
		}
		after := listing(t, filepath.Dir(kubelet))
		if unpublish, ok := request.(*csi.NodeUnpublishVolumeRequest); ok && err == nil {
			// What it is for: the directory that is to go is gone.
			before = slices.DeleteFunc(before, func(path string) bool { return path == unpublish.TargetPath })
		}
		if !slices.Equal(before, after) {
			t.Errorf("%s: %q became %q", method.Name, before, after)
		}
		if pool.active {
			t.Errorf("%s left the device", method.Name)
		}
		if _, err := os.Lstat(filepath.Join(kubelet, "staging")); err != nil && !strings.HasPrefix(method.Name, "NodeUnpublish") {
			t.Error(err)
		}
	})
}

// goodRequest fills a request of a call with what kubelet would send.
func goodRequest(method hostile.Method) proto.Message {
	const staging, target = hostile.Placeholder + "/staging", hostile.Placeholder + "/target"
	capability, attributes := mountCapability(nil), map[string]string{v1alpha1.ParameterPool: "test"}
	switch request := method.NewRequest().(type) {
	case *csi.NodeStageVolumeRequest:
		request.VolumeId, request.StagingTargetPath, request.VolumeCapability, request.VolumeContext = "pvc-1", staging, capability, attributes
		return request
	case *csi.NodeUnstageVolumeRequest:
		request.VolumeId, request.StagingTargetPath = "pvc-1", staging
		return request
	case *csi.NodePublishVolumeRequest:
		request.VolumeId, request.StagingTargetPath, request.TargetPath, request.VolumeCapability, request.VolumeContext = "pvc-1", staging, target, capability, attributes
		return request
	case *csi.NodeUnpublishVolumeRequest:
		request.VolumeId, request.TargetPath = "pvc-1", target
		return request
	case *csi.NodeGetVolumeStatsRequest:
		request.VolumeId, request.VolumePath, request.StagingTargetPath = "pvc-1", staging, staging
		return request
	case *csi.NodeExpandVolumeRequest:
		request.VolumeId, request.VolumePath, request.StagingTargetPath, request.VolumeCapability = "pvc-1", staging, staging, capability
		request.CapacityRange = &csi.CapacityRange{RequiredBytes: 1 << 30}
		return request
	case *csi.NodeGetVolumeHealthRequest:
		request.VolumeId, request.VolumePublishPath, request.StagingTargetPath = "pvc-1", staging, staging
		return request
	default:
		return request // no fields that the driver reads
	}
}
