//go:build kernel

package csi

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// TestSymbolicLinks: links that a pod or anybody else puts in kubelet's directories are not followed by any call, and what
// they lead to is not touched.
func TestSymbolicLinks(t *testing.T) {
	f := newFixture(t)
	v := f.volume("pvc-1", filesystem.Ext4)
	outside := filepath.Join(filepath.Dir(f.kubelet), "outside")
	must(t, os.MkdirAll(filepath.Join(outside, "mount"), 0o750))
	t.Cleanup(func() { must(t, os.RemoveAll(outside)) })
	link := func(path, target string) {
		t.Helper()
		must(t, os.RemoveAll(path))
		must(t, os.Symlink(target, path))
	}
	untouched := func() {
		t.Helper()
		if found, _, _ := mountOptions(t, filepath.Join(outside, "mount")); found > 0 {
			t.Error("something was mounted through a link")
		}
		if found, _, _ := mountOptions(t, outside); found > 0 {
			t.Error("something was mounted through a link")
		}
		if _, err := os.Stat(filepath.Join(outside, "mount")); err != nil {
			t.Errorf("something was removed through a link: %v", err)
		}
	}

	link(v.staging, outside)
	refused(t, v.stage(), codes.InvalidArgument, "staging_target_path", "symbolic link")
	must(t, v.unstage()) // nothing is mounted on the link itself
	untouched()
	must(t, os.Remove(v.staging))
	must(t, os.Mkdir(v.staging, 0o750))
	must(t, v.stage())

	// The target itself, then the directory that it lies in.
	link(v.target("pod-1"), outside)
	refused(t, v.publish("pod-1"), codes.InvalidArgument, "target_path", "symbolic link")
	if err := v.unpublish("pod-1"); err == nil {
		t.Error("a link passed for a target")
	}
	untouched()
	link(filepath.Dir(v.target("pod-2")), outside)
	refused(t, v.publish("pod-2"), codes.InvalidArgument, "target_path", "symbolic link")
	refused(t, v.unpublish("pod-2"), codes.InvalidArgument, "target_path", "symbolic link")
	_, err := v.NodeGetVolumeStats(v.context(), &csi.NodeGetVolumeStatsRequest{VolumeId: v.id, VolumePath: v.target("pod-2")})
	refused(t, err, codes.InvalidArgument, "volume_path", "symbolic link")
	untouched()

	// A link that leads to a mount is not unmounted through.
	must(t, unix.Mount("tmpfs", filepath.Join(outside, "mount"), "tmpfs", 0, ""))
	link(v.target("pod-1"), filepath.Join(outside, "mount"))
	_ = v.unpublish("pod-1")
	if found, _, _ := mountOptions(t, filepath.Join(outside, "mount")); found != 1 {
		t.Error("a mount was removed through a link")
	}
	must(t, unix.Unmount(filepath.Join(outside, "mount"), 0))
	must(t, os.Remove(v.target("pod-1")))
	must(t, os.Remove(filepath.Dir(v.target("pod-2"))))
	must(t, v.unstage())
	v.nothingLeft()
}

// TestRefusedRequestsLeaveNothing: on a volume that exists, requests that are refused late leave no device and no mount.
func TestRefusedRequestsLeaveNothing(t *testing.T) {
	v := newFixture(t).volume("pvc-1", filesystem.Ext4)
	for name, change := range map[string]func(*csi.NodeStageVolumeRequest){
		"other fs type":      func(r *csi.NodeStageVolumeRequest) { r.VolumeCapability.GetMount().FsType = "xfs" },
		"xfs option on ext4": func(r *csi.NodeStageVolumeRequest) { r.VolumeCapability.GetMount().MountFlags = []string{"largeio"} },
		"unchecked option, type from the volume": func(r *csi.NodeStageVolumeRequest) {
			r.VolumeCapability.GetMount().FsType = ""
			r.VolumeCapability.GetMount().MountFlags = []string{"init_itable=1"}
		},
		"pool's name": func(r *csi.NodeStageVolumeRequest) { r.VolumeContext["csi-dm.io/pool"] = "../x" },
	} {
		t.Run(name, func(t *testing.T) {
			request := v.stageRequest()
			change(request)
			_, err := v.NodeStageVolume(v.context(), request)
			refused(t, err, codes.InvalidArgument)
			v.nothingLeft()
		})
	}
	// An option that is allowed and that the kernel does not take: the journal is on the volume, not elsewhere.
	refused(t, v.stage("stripe=4294967295", "data=journal", "dioread_nolock", "delalloc"), codes.Internal, "mount")
	v.nothingLeft()

	must(t, os.Remove(v.staging))
	refused(t, v.stage(), codes.FailedPrecondition, "staging_target_path", "does not exist")
	v.nothingLeft()
	must(t, os.Mkdir(v.staging, 0o750))
	refused(t, v.publish("pod-1"), codes.FailedPrecondition, "not staged")
	v.nothingLeft()
}
