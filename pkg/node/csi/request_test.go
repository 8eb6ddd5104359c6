package csi

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

func mountCapability(change func(*csi.VolumeCapability)) *csi.VolumeCapability {
	capability := &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: "ext4"}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	}
	if change != nil {
		change(capability)
	}
	return capability
}

// calls sends one and the same volume, path and capability through every call that takes them; paths go into the named
// field.
type call struct {
	name, pathField string
	send            func(id, path string, capability *csi.VolumeCapability) error
	takesCapability bool
}

func calls(t *testing.T, n *Node, kubelet string) []call {
	ctx, staging := t.Context(), filepath.Join(kubelet, "staging")
	return []call{
		{"stage", "staging_target_path", func(id, path string, c *csi.VolumeCapability) error {
			_, err := n.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: path, VolumeCapability: c})
			return err
		}, true},
		{"unstage", "staging_target_path", func(id, path string, _ *csi.VolumeCapability) error {
			_, err := n.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: id, StagingTargetPath: path})
			return err
		}, false},
		{"publish, staging", "staging_target_path", func(id, path string, c *csi.VolumeCapability) error {
			_, err := n.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
				VolumeId: id, StagingTargetPath: path, TargetPath: filepath.Join(kubelet, "pod"), VolumeCapability: c,
			})
			return err
		}, true},
		{"publish, target", "target_path", func(id, path string, c *csi.VolumeCapability) error {
			_, err := n.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
				VolumeId: id, StagingTargetPath: staging, TargetPath: path, VolumeCapability: c,
			})
			return err
		}, true},
		{"unpublish", "target_path", func(id, path string, _ *csi.VolumeCapability) error {
			_, err := n.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: id, TargetPath: path})
			return err
		}, false},
		{"stats", "volume_path", func(id, path string, _ *csi.VolumeCapability) error {
			_, err := n.NodeGetVolumeStats(ctx, &csi.NodeGetVolumeStatsRequest{VolumeId: id, VolumePath: path})
			return err
		}, false},
	}
}

// TestHostileInput sends what must be refused through every call: InvalidArgument, the field's name, and nothing left.
func TestHostileInput(t *testing.T) {
	n, pool, kubelet := newBroken(t)
	good := mountCapability(nil)
	expect := func(t *testing.T, err error, field string, other ...codes.Code) {
		t.Helper()
		if code := status.Code(err); code != codes.InvalidArgument && !slices.Contains(other, code) || !strings.Contains(err.Error(), field) || len(err.Error()) > 5000 {
			t.Errorf("want InvalidArgument that names %s: %.300v", field, err)
		}
	}
	before := listing(t, filepath.Dir(kubelet))
	for _, call := range calls(t, n, kubelet) {
		for _, id := range []string{
			"", "../pvc-1", "pvc-1/../pvc-2", "pvc-1,init_itable", "pvc-1\n", "pvc-1\x00", "-pvc", "--help", ".", "..", "PVC-1", "pvc 1",
			strings.Repeat("a", 10<<10), "$(reboot)", "pvc-1;reboot", "\u202e1-cvp",
		} {
			t.Run(fmt.Sprintf("%s/id %.20q", call.name, id), func(t *testing.T) {
				expect(t, call.send(id, filepath.Join(kubelet, "staging"), good), "volume_id")
			})
		}
		for _, path := range []string{
			"", "/", "/etc", "relative", kubelet, kubelet + "/", kubelet + "/../etc", kubelet + "/staging/../../etc", kubelet + "/./staging",
			kubelet + "x/staging", kubelet + "/staging\x00", kubelet + strings.Repeat("/a", 10<<10), "/proc/self/root" + kubelet + "/staging",
		} {
			t.Run(fmt.Sprintf("%s/path %.40q", call.name, strings.ReplaceAll(path, kubelet, "KUBELET")), func(t *testing.T) {
				var other []codes.Code
				if call.name == "stats" && path != "" {
					other = append(other, codes.NotFound) // the specification: the volume is not on that path
				}
				expect(t, call.send("pvc-1", path, good), call.pathField, other...)
			})
		}
		if !call.takesCapability {
			continue
		}
		for name, bad := range map[string]struct {
			capability *csi.VolumeCapability
			field      string
		}{
			"none":           {nil, "volume_capability"},
			"no access type": {mountCapability(func(c *csi.VolumeCapability) { c.AccessType = nil }), "access_type"},
			"block of a file system": {mountCapability(func(c *csi.VolumeCapability) {
				c.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
			}), "volume_capability.block"},
			"no access mode":      {mountCapability(func(c *csi.VolumeCapability) { c.AccessMode = nil }), "access_mode"},
			"multi node writer":   {mode(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER), "SINGLE_NODE_MULTI_WRITER"},
			"multi single writer": {mode(csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER), "SINGLE_NODE_WRITER"},
			"mode from nowhere":   {mode(99), "access_mode"},
			"fs type":             {mountCapability(func(c *csi.VolumeCapability) { c.GetMount().FsType = "ext4 -F" }), "fs_type"},
			"vfat":                {mountCapability(func(c *csi.VolumeCapability) { c.GetMount().FsType = "vfat" }), "[ext4 xfs]"},
			"option":              {flags("init_itable"), "mount_flags"},
			"hidden option":       {flags("noatime,init_itable"), "mount_flags"},
			"mount group":         {mountCapability(func(c *csi.VolumeCapability) { c.GetMount().VolumeMountGroup = "100" }), "volume_mount_group"},
		} {
			t.Run(call.name+"/capability "+name, func(t *testing.T) {
				expect(t, call.send("pvc-1", filepath.Join(kubelet, "staging", "x"), bad.capability), bad.field)
			})
		}
	}
	if after := listing(t, filepath.Dir(kubelet)); !slices.Equal(before, after) {
		t.Errorf("something was left: %v became %v", before, after)
	}
	if pool.activations > 0 {
		t.Errorf("%d activations for requests that were refused", pool.activations)
	}
}

func mode(m csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
	return mountCapability(func(c *csi.VolumeCapability) { c.AccessMode.Mode = m })
}

func flags(list ...string) *csi.VolumeCapability {
	return mountCapability(func(c *csi.VolumeCapability) { c.GetMount().MountFlags = list })
}

func TestPoolHintIsChecked(t *testing.T) {
	n, _, kubelet := newBroken(t)
	request := &csi.NodeStageVolumeRequest{
		VolumeId: "pvc-1", StagingTargetPath: filepath.Join(kubelet, "staging"), VolumeCapability: mountCapability(nil),
		VolumeContext: map[string]string{v1alpha1.ParameterPool: "../other"},
	}
	_, err := n.NodeStageVolume(t.Context(), request)
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "volume_context[csi-dm.io/pool]") {
		t.Errorf("got %v", err)
	}
	// A hint that is wrong does no harm: the volume is found where it is.
	request.VolumeContext[v1alpha1.ParameterPool] = "elsewhere"
	if _, err := n.NodeStageVolume(t.Context(), request); status.Code(err) == codes.NotFound {
		t.Errorf("got %v", err)
	}
}

func TestRootModeIsChecked(t *testing.T) {
	n, pool, kubelet := newBroken(t)
	for _, bad := range []string{"", "u+w", "4755", "00770", "770\n", "0", "../770"} {
		_, err := n.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{
			VolumeId: "pvc-1", StagingTargetPath: filepath.Join(kubelet, "staging"), VolumeCapability: mountCapability(nil),
			VolumeContext: map[string]string{v1alpha1.ParameterRootMode: bad},
		})
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "volume_context[csi-dm.io/root-mode]") || !strings.Contains(err.Error(), "octal") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if pool.activations > 0 {
		t.Errorf("%d activations for requests that were refused", pool.activations)
	}
}

func TestUnknownVolume(t *testing.T) {
	n, _, kubelet := newBroken(t)
	for _, call := range calls(t, n, kubelet) {
		err := call.send("pvc-unknown", filepath.Join(kubelet, "staging"), mountCapability(nil))
		want := codes.NotFound
		if call.name == "unstage" || call.name == "unpublish" {
			continue // nothing to do for them: see the kernel tests
		}
		if status.Code(err) != want {
			t.Errorf("%s: %v", call.name, err)
		}
	}
}

func TestIdentityAndInfo(t *testing.T) {
	n, _, _ := newBroken(t)
	name, err := n.GetPluginInfo(t.Context(), &csi.GetPluginInfoRequest{})
	if err != nil || name.GetName() != "csi-dm.io" || name.GetVendorVersion() == "" {
		t.Errorf("plugin info: %v, %v", name, err)
	}
	probe, err := n.Probe(t.Context(), &csi.ProbeRequest{})
	if err != nil || !probe.GetReady().GetValue() {
		t.Errorf("probe: %v, %v", probe, err)
	}
	info, err := n.NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
	if err != nil || info.GetNodeId() != "node-1" || info.GetAccessibleTopology().GetSegments()["topology.csi-dm.io/node"] != "node-1" {
		t.Errorf("info: %v, %v", info, err)
	}
	n.config.NodeName = strings.Repeat("n", 200)
	info, err = n.NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
	if value := info.GetAccessibleTopology().GetSegments()["topology.csi-dm.io/node"]; err != nil || value == "" || len(value) > 63 {
		t.Errorf("a long name gives the label value %q", value)
	}
}
