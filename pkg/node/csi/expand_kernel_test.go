//go:build kernel

package csi

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

func (v *volume) expand(path string, required int64, change ...func(*csi.NodeExpandVolumeRequest)) (int64, error) {
	request := &csi.NodeExpandVolumeRequest{
		VolumeId: v.id, VolumePath: path, StagingTargetPath: v.staging, VolumeCapability: v.capability(),
		CapacityRange: &csi.CapacityRange{RequiredBytes: required},
	}
	for _, f := range change {
		f(request)
	}
	response, err := v.NodeExpandVolume(v.context(), request)
	return response.GetCapacityBytes(), err
}

// fileSystemSize is what statfs says of what is mounted at a path, in bytes.
func fileSystemSize(t *testing.T, path string) int64 {
	t.Helper()
	var fs unix.Statfs_t
	must(t, unix.Statfs(path, &fs))
	return int64(fs.Blocks) * fs.Bsize
}

// TestNodeExpand: a volume whose device has grown while it is mounted, written to and read, has its size for whoever sees it,
// also where its pod may only read; a second time, and after a restart in between, nothing is to do.
func TestNodeExpand(t *testing.T) {
	for _, fsType := range filesystem.Types {
		t.Run(string(fsType), func(t *testing.T) {
			v := newFixture(t).volume("pvc-1", fsType)
			must(t, v.stage("lazytime"))
			must(t, v.publish("pod-1"))
			must(t, v.publish("pod-2", func(r *csi.NodePublishVolumeRequest) { r.Readonly = true }))
			file, err := os.Create(filepath.Join(v.target("pod-1"), "file"))
			must(t, err)
			defer file.Close()
			_, err = file.WriteString("before ")
			must(t, err)
			_, _, optionsBefore := mountOptions(t, v.staging)
			before := fileSystemSize(t, v.staging)

			grow := func(size int64, path string) {
				t.Helper()
				if _, err := v.pool().GrowVolume(v.context(), v.id, size); err != nil {
					t.Fatal(err)
				}
				v.restart()
				for range 2 {
					if has, err := v.expand(path, size); err != nil || has != size {
						t.Fatalf("%d bytes, %v", has, err)
					}
				}
				if has := fileSystemSize(t, v.target("pod-1")); has < before+size-512*mib-64*mib || has > size {
					t.Errorf("the file system has %d bytes on %d, it had %d on %d", has, size, before, 512*mib)
				}
			}
			grow(768*mib, v.staging)
			grow(1024*mib, v.target("pod-1"))
			grow(1280*mib, v.target("pod-2"))

			_, err = file.WriteString("after")
			must(t, err)
			must(t, file.Close())
			if content, err := os.ReadFile(filepath.Join(v.target("pod-2"), "file")); string(content) != "before after" {
				t.Errorf("the file holds %q, %v", content, err)
			}
			if err := os.WriteFile(filepath.Join(v.target("pod-2"), "other"), nil, 0o600); err == nil {
				t.Error("the pod that may only read can write")
			}
			if _, _, options := mountOptions(t, v.staging); options != optionsBefore {
				t.Errorf("the options were %s and are %s", optionsBefore, options)
			}
			must(t, v.unpublish("pod-1"))
			must(t, v.unpublish("pod-2"))
			must(t, v.unstage())
			v.nothingLeft()
			device := v.device()
			if fsType == filesystem.Ext4 {
				must(t, filesystem.CheckExt4(v.context(), device))
			}
			v.deactivate()
			must(t, v.stage("ro"))
			if _, err := v.pool().GrowVolume(v.context(), v.id, 1536*mib); err != nil {
				t.Fatal(err)
			}
			if _, err := v.expand(v.staging, 1536*mib); err != nil {
				t.Errorf("staged read-only: %v", err)
			}
			if has := fileSystemSize(t, v.staging); has < before+1024*mib-96*mib {
				t.Errorf("staged read-only, the file system has %d bytes", has)
			}
			must(t, v.unstage())
			v.nothingLeft()
		})
	}
}

// TestNodeExpandBlock: of a volume without a file system the size is told, and the device has it.
func TestNodeExpandBlock(t *testing.T) {
	v := newFixture(t).volume("pvc-1", "")
	if _, err := v.pool().GrowVolume(v.context(), v.id, 768*mib); err != nil {
		t.Fatal(err)
	}
	device, err := os.Open(v.device())
	must(t, err)
	defer v.deactivate()
	defer device.Close()
	for _, size := range []int64{768 * mib, 1024 * mib} {
		if _, err := v.pool().GrowVolume(v.context(), v.id, size); err != nil {
			t.Fatal(err)
		}
		if has, err := v.expand(v.target("pod-1"), size); err != nil || has != size {
			t.Errorf("%d bytes, %v: want %d", has, err, size)
		}
		if end, err := device.Seek(0, io.SeekEnd); err != nil || end != size {
			t.Errorf("the device has %d bytes, %v: want %d", end, err, size)
		}
	}
	_, err = v.expand(v.target("pod-1"), 2*gib)
	refused(t, err, codes.OutOfRange, "capacity_range")
}

// TestNodeExpandRefusals: what cannot be is refused with the field's name, and changes nothing.
func TestNodeExpandRefusals(t *testing.T) {
	v := newFixture(t).volume("pvc-1", filesystem.Ext4)
	other := v.volume("pvc-2", filesystem.Ext4)
	must(t, v.stage())
	must(t, other.stage())
	before := fileSystemSize(t, v.staging)
	for name, test := range map[string]struct {
		change func(*csi.NodeExpandVolumeRequest)
		code   codes.Code
		words  []string
	}{
		"no volume":       {func(r *csi.NodeExpandVolumeRequest) { r.VolumeId = "" }, codes.InvalidArgument, []string{"volume_id"}},
		"hostile volume":  {func(r *csi.NodeExpandVolumeRequest) { r.VolumeId = "../pvc-1" }, codes.InvalidArgument, []string{"volume_id"}},
		"unknown volume":  {func(r *csi.NodeExpandVolumeRequest) { r.VolumeId = "pvc-9" }, codes.NotFound, []string{"pvc-9"}},
		"no path":         {func(r *csi.NodeExpandVolumeRequest) { r.VolumePath = "" }, codes.InvalidArgument, []string{"volume_path"}},
		"path outside":    {func(r *csi.NodeExpandVolumeRequest) { r.VolumePath = "/etc" }, codes.InvalidArgument, []string{"volume_path"}},
		"path missing":    {func(r *csi.NodeExpandVolumeRequest) { r.VolumePath = v.target("pod-9") }, codes.NotFound, []string{"volume_path"}},
		"not mounted":     {func(r *csi.NodeExpandVolumeRequest) { r.VolumePath = filepath.Dir(v.target("pod-1")) }, codes.NotFound, []string{"volume_path"}},
		"other's path":    {func(r *csi.NodeExpandVolumeRequest) { r.VolumePath = other.staging }, codes.NotFound, []string{"volume_path"}},
		"negative size":   {func(r *csi.NodeExpandVolumeRequest) { r.CapacityRange.RequiredBytes = -1 }, codes.InvalidArgument, []string{"capacity_range.required_bytes", "-1"}},
		"negative limit":  {func(r *csi.NodeExpandVolumeRequest) { r.CapacityRange.LimitBytes = -1 }, codes.InvalidArgument, []string{"capacity_range.limit_bytes", "-1"}},
		"limit below":     {func(r *csi.NodeExpandVolumeRequest) { r.CapacityRange.LimitBytes = 1 }, codes.InvalidArgument, []string{"capacity_range.limit_bytes"}},
		"more than it is": {func(r *csi.NodeExpandVolumeRequest) { r.CapacityRange.RequiredBytes = gib }, codes.OutOfRange, []string{"capacity_range", "536870912"}},
		"limit too small": {func(r *csi.NodeExpandVolumeRequest) {
			r.CapacityRange = &csi.CapacityRange{LimitBytes: 256 * mib}
		}, codes.OutOfRange, []string{"capacity_range"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := v.expand(v.staging, 512*mib, test.change)
			refused(t, err, test.code, test.words...)
		})
	}
	// Less than it has, and nothing in particular: it is as large as it can be.
	for _, asked := range []*csi.CapacityRange{nil, {}, {RequiredBytes: mib}} {
		if has, err := v.expand(v.staging, 0, func(r *csi.NodeExpandVolumeRequest) { r.CapacityRange = asked }); err != nil || has != 512*mib {
			t.Errorf("asked for %v: %d, %v", asked, has, err)
		}
	}
	if has := fileSystemSize(t, v.staging); has != before {
		t.Errorf("the file system had %d bytes and has %d", before, has)
	}
	must(t, v.unstage())
	must(t, other.unstage())
	v.nothingLeft()
}
