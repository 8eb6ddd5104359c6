package csi

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// TestHostileInlineVolumes: what a pod's author, or anybody who passes for kubelet, can write into an inline volume is refused before
// the pool is asked, and nothing is left.
func TestHostileInlineVolumes(t *testing.T) {
	n, pool, kubelet := newBroken(t)
	n.config.InlineSizeLimit = 1 << 30
	target := func(pod, volume string) string {
		return filepath.Join(kubelet, "pods", pod, "volumes/kubernetes.io~csi", volume, "mount")
	}
	for _, pod := range []string{"pod-1", "pod-2"} {
		if err := os.MkdirAll(filepath.Dir(target(pod, "scratch")), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	good := func() *csi.NodePublishVolumeRequest {
		return &csi.NodePublishVolumeRequest{
			VolumeId: "csi-0a1b", TargetPath: target("pod-1", "scratch"), VolumeCapability: mountCapability(nil),
			VolumeContext: map[string]string{
				"csi.storage.k8s.io/pod.uid": "pod-1", "csi.storage.k8s.io/ephemeral": "true",
				v1alpha1.ParameterPool: "test", v1alpha1.AttributeSize: "1Gi",
			},
		}
	}
	if _, err := n.parseInline(good()); err != nil {
		t.Fatalf("what kubelet sends: %v", err)
	}
	before := listing(t, filepath.Dir(kubelet))
	for name, test := range map[string]struct {
		change func(*csi.NodePublishVolumeRequest)
		words  []string
	}{
		"volume's name": {func(r *csi.NodePublishVolumeRequest) { r.VolumeId = "../csi-1" }, []string{"volume_id"}},
		"neither":       {func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["csi.storage.k8s.io/ephemeral"] = "maybe" }, []string{"volume_context", "ephemeral"}},
		"attribute":     {func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["csi-dm.io/colour"] = "blue" }, []string{"volume_context", "csi-dm.io/colour", v1alpha1.AttributeSize}},
		"no size":       {func(r *csi.NodePublishVolumeRequest) { delete(r.VolumeContext, v1alpha1.AttributeSize) }, []string{v1alpha1.AttributeSize, "1Gi"}},
		"size":          {func(r *csi.NodePublishVolumeRequest) { r.VolumeContext[v1alpha1.AttributeSize] = "2Gi" }, []string{v1alpha1.AttributeSize, "2Gi", "at most 1Gi"}},
		"pool":          {func(r *csi.NodePublishVolumeRequest) { r.VolumeContext[v1alpha1.ParameterPool] = "a,b" }, []string{v1alpha1.ParameterPool, "a,b"}},
		"mkfs options":  {func(r *csi.NodePublishVolumeRequest) { r.VolumeContext[v1alpha1.ParameterMkfsOptions] = "-d /etc" }, []string{v1alpha1.ParameterMkfsOptions}},
		"block":         {func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability = blockCapability() }, []string{"volume_capability.block"}},
		"file system":   {func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability.GetMount().FsType = "vfat" }, []string{"fs_type", "vfat"}},
		"mount option": {func(r *csi.NodePublishVolumeRequest) {
			r.VolumeCapability.GetMount().MountFlags = []string{"noatime,init_itable"}
		}, []string{"mount_flags"}},
		"no target":       {func(r *csi.NodePublishVolumeRequest) { r.TargetPath = "" }, []string{"target_path"}},
		"target outside":  {func(r *csi.NodePublishVolumeRequest) { r.TargetPath = "/etc/mount" }, []string{"target_path"}},
		"no pod's target": {func(r *csi.NodePublishVolumeRequest) { r.TargetPath = filepath.Join(kubelet, "plugins", "x", "mount") }, []string{"target_path", "/pods/UID/"}},
		"other pod":       {func(r *csi.NodePublishVolumeRequest) { r.TargetPath = target("pod-2", "scratch") }, []string{"target_path", "pod-1"}},
		"other plugin's": {func(r *csi.NodePublishVolumeRequest) {
			r.TargetPath = filepath.Join(kubelet, "pods/pod-1/volumes/kubernetes.io~empty-dir/x/mount")
		}, []string{"target_path"}},
		"not its mount":    {func(r *csi.NodePublishVolumeRequest) { r.TargetPath = filepath.Dir(target("pod-1", "scratch")) }, []string{"target_path"}},
		"no pod":           {func(r *csi.NodePublishVolumeRequest) { delete(r.VolumeContext, "csi.storage.k8s.io/pod.uid") }, []string{"target_path"}},
		"pod with a slash": {func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["csi.storage.k8s.io/pod.uid"] = "pod-1/volumes" }, []string{"target_path"}},
	} {
		t.Run(name, func(t *testing.T) {
			request := good()
			test.change(request)
			_, err := n.NodePublishVolume(t.Context(), request)
			if status.Code(err) != codes.InvalidArgument || len(err.Error()) > 5000 {
				t.Fatalf("want InvalidArgument: %.300v", err)
			}
			for _, word := range test.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q is not in: %v", word, err)
				}
			}
		})
	}
	n.config.InlineSizeLimit = 0
	_, err := n.NodePublishVolume(t.Context(), good())
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "node.inlineEphemeralVolumes") {
		t.Errorf("not enabled: %v", err)
	}
	if after := listing(t, filepath.Dir(kubelet)); !slices.Equal(before, after) {
		t.Errorf("something was left: %v became %v", before, after)
	}
	if pool.activations > 0 {
		t.Errorf("%d activations for requests that were refused", pool.activations)
	}
}

func blockCapability() *csi.VolumeCapability {
	return mountCapability(func(c *csi.VolumeCapability) {
		c.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
	})
}
