package csi

import (
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// sourceRequest is a request for a volume that is restored from the snapshot "s".
func sourceRequest(change func(*csi.CreateVolumeRequest)) *csi.CreateVolumeRequest {
	request := &csi.CreateVolumeRequest{
		Name:          "pvc-1",
		CapacityRange: &csi.CapacityRange{RequiredBytes: 1 << 30},
		Parameters:    map[string]string{v1alpha1.ParameterPool: "fast"},
		VolumeCapabilities: []*csi.VolumeCapability{{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		}},
		VolumeContentSource: &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
			Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: "s"},
		}},
	}
	if change != nil {
		change(request)
	}
	return request
}

// TestSettle: a request takes its file system from the source where it names none, and its size where that is larger.
func TestSettle(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*csi.CreateVolumeRequest)
		from   origin
		size   int64
		code   codes.Code
		words  string
	}{
		"file system of the source": {nil, origin{"n", "fast", "xfs", 1 << 30}, 1 << 30, codes.OK, ""},
		"larger":                    {nil, origin{"n", "fast", "ext4", 1 << 29}, 1 << 30, codes.OK, ""},
		"source in whole blocks":    {nil, origin{"n", "fast", "ext4", 1<<30 + 1<<16}, 1<<30 + 1<<16, codes.OK, ""},
		"no size":                   {func(r *csi.CreateVolumeRequest) { r.CapacityRange = nil }, origin{"n", "fast", "ext4", 1 << 25}, 1 << 25, codes.OK, ""},
		"limit": {func(r *csi.CreateVolumeRequest) { r.CapacityRange.LimitBytes = 1 << 30 }, origin{"n", "fast", "ext4", 1<<30 + 1},
			0, codes.OutOfRange, "capacity_range.limit_bytes"},
		"pool": {nil, origin{"n", "slow", "ext4", 1 << 30}, 0, codes.InvalidArgument, "slow"},
		"class's file system": {func(r *csi.CreateVolumeRequest) { r.Parameters[v1alpha1.ParameterFSType] = "xfs" }, origin{"n", "fast", "ext4", 1 << 30},
			0, codes.InvalidArgument, v1alpha1.ParameterFSType},
		"capability's file system": {func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities[0].GetMount().FsType = "ext4" }, origin{"n", "fast", "xfs", 1 << 30},
			0, codes.InvalidArgument, v1alpha1.ParameterFSType},
		"mount option of another file system": {func(r *csi.CreateVolumeRequest) {
			r.VolumeCapabilities[0].GetMount().MountFlags = []string{"commit=5"}
		}, origin{"n", "fast", "xfs", 1 << 30}, 0, codes.InvalidArgument, "mount_flags"},
	} {
		r, err := readRequest(sourceRequest(c.change))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		err = r.settle(c.from)
		if c.code == codes.OK {
			if err != nil || r.size.required != c.size || string(r.format.Type) != c.from.fsType || len(r.format.Options) > 0 || !r.source.settled {
				t.Errorf("%s: %v; the request is %+v", name, err, r)
			}
			continue
		}
		if err == nil || code(err) != c.code || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want %s with %q", name, err, c.code, c.words)
		}
	}
}

// TestMkfsOptionsOfARestore: those of the class are checked and do nothing.
func TestMkfsOptionsOfARestore(t *testing.T) {
	r, err := readRequest(sourceRequest(func(r *csi.CreateVolumeRequest) { r.Parameters[v1alpha1.ParameterMkfsOptions] = "-m 1" }))
	if err != nil || len(r.format.Options) > 0 {
		t.Errorf("%v; options %q", err, r.format.Options)
	}
	if _, err := readRequest(sourceRequest(func(r *csi.CreateVolumeRequest) { r.Parameters[v1alpha1.ParameterMkfsOptions] = "-F" })); err == nil {
		t.Error("-F was accepted")
	}
}
