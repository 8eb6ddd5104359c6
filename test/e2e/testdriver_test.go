package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/confinedpath"
	controllercsi "github.com/csi-dm/csi-dm/pkg/controller/csi"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node"
	nodecsi "github.com/csi-dm/csi-dm/pkg/node/csi"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
)

// driverDefinition has the fields of the suite's own type of that name (test/e2e/storage/external of Kubernetes 1.37) that
// testdriver.yaml uses. The suite itself does not notice a field that is misspelt.
type driverDefinition struct {
	StorageClass, SnapshotClass, GroupSnapshotClass struct{ FromName bool }
	InlineVolumes                                   []struct {
		Attributes       map[string]string
		Shared, ReadOnly bool
	}
	DriverInfo struct {
		Name                                  string
		SupportedSizeRange                    struct{ Min, Max string }
		SupportedFsType, SupportedMountOption map[string]struct{}
		Capabilities                          map[string]bool
		TopologyKeys                          []string
	}
}

// TestDriverDefinition: each capability that the suite knows is stated, and is what the driver says of itself: by its capability
// calls, by what the node answers to an access mode, and by the CSIDriver that the chart makes.
func TestDriverDefinition(t *testing.T) {
	var definition driverDefinition
	text, err := os.ReadFile("testdriver.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &definition); err != nil {
		t.Fatal(err)
	}
	truth := capabilitiesOfDriver(t)
	stated := definition.DriverInfo.Capabilities
	for _, name := range slices.Sorted(maps.Keys(truth)) {
		if value, ok := stated[name]; !ok || value != truth[name] {
			t.Errorf("capability %s: %t is stated (at all: %t), the driver says %t", name, value, ok, truth[name])
		}
	}
	for name := range stated {
		if _, known := truth[name]; !known {
			t.Errorf("the suite knows no capability %s", name)
		}
	}
	info := definition.DriverInfo
	if info.Name != v1alpha1.DriverName || !slices.Equal(info.TopologyKeys, []string{v1alpha1.TopologyKey}) || !definition.StorageClass.FromName {
		t.Errorf("name, topology keys or class are not the driver's: %+v", definition)
	}
	if definition.SnapshotClass.FromName != truth["snapshotDataSource"] || definition.GroupSnapshotClass.FromName != truth["groupSnapshot"] {
		t.Error("the classes of snapshots are not those of the capabilities")
	}
	for fsType := range info.SupportedFsType {
		if _, err := filesystem.ParseType(fsType); err != nil && fsType != "" {
			t.Error(err)
		}
	}
	for _, fsType := range filesystem.Types {
		if _, stated := info.SupportedFsType[string(fsType)]; !stated {
			t.Errorf("file system %s is not stated", fsType)
		}
		if _, err := filesystem.ParseMountOptions(fsType, slices.Collect(maps.Keys(info.SupportedMountOption))); err != nil {
			t.Error(err)
		}
	}
}

// capabilitiesOfDriver answers, in the suite's words, what the driver can.
func capabilitiesOfDriver(t *testing.T) map[string]bool {
	t.Helper()
	controller, plugin, onNode := map[string]bool{}, map[string]bool{}, map[string]bool{}
	controllerResponse, err := new(controllercsi.Service).ControllerGetCapabilities(t.Context(), &csi.ControllerGetCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, capability := range controllerResponse.Capabilities {
		controller[capability.GetRpc().GetType().String()] = true
	}
	pluginResponse, err := controllercsi.Identity{}.GetPluginCapabilities(t.Context(), &csi.GetPluginCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, capability := range pluginResponse.Capabilities {
		plugin[capability.GetService().GetType().String()] = true
		plugin["expansion "+capability.GetVolumeExpansion().GetType().String()] = true
	}
	service, kubelet := nodeService(t)
	ofNode, err := service.GetPluginCapabilities(t.Context(), &csi.GetPluginCapabilitiesRequest{})
	if err != nil || !proto.Equal(ofNode, pluginResponse) {
		t.Errorf("node and controller differ in what the driver as a whole can: %v (%v), %v", ofNode, err, pluginResponse)
	}
	takes := func(capability *csi.VolumeCapability, mode csi.VolumeCapability_AccessMode_Mode) bool {
		return takes(t, service, kubelet, capability, mode)
	}
	nodeResponse, err := service.NodeGetCapabilities(t.Context(), &csi.NodeGetCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, capability := range nodeResponse.Capabilities {
		onNode[capability.GetRpc().GetType().String()] = true
	}
	csiDriver, err := os.ReadFile("../../charts/csi-dm/templates/csidriver.yaml")
	if err != nil {
		t.Fatal(err)
	}
	object := func(line string) bool { return strings.Contains(string(csiDriver), "\n  "+line+"\n") }
	mount := &csi.VolumeCapability{AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}}}
	block := &csi.VolumeCapability{AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}}
	expansion := controller["EXPAND_VOLUME"]
	return map[string]bool{
		"persistence":         true,
		"exec":                true,
		"multipods":           takes(mount, csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER),
		"readWriteOncePod":    controller["SINGLE_NODE_MULTI_WRITER"] && onNode["SINGLE_NODE_MULTI_WRITER"],
		"RWX":                 takes(mount, csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER),
		"block":               takes(block, csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER),
		"fsGroup":             object("fsGroupPolicy: File"),
		"seLinuxMount":        object("seLinuxMount: true"),
		"topology":            plugin["VOLUME_ACCESSIBILITY_CONSTRAINTS"],
		"capacity":            controller["GET_CAPACITY"] && object("storageCapacity: true"),
		"controllerExpansion": expansion,
		"nodeExpansion":       onNode["EXPAND_VOLUME"],
		"onlineExpansion":     expansion && onNode["EXPAND_VOLUME"],
		"offlineExpansion":    expansion,
		"snapshotDataSource":  controller["CREATE_DELETE_SNAPSHOT"],
		"pvcDataSource":       controller["CLONE_VOLUME"],
		"groupSnapshot":       plugin["GROUP_CONTROLLER_SERVICE"],
		"snapshotMetadata":    plugin["SNAPSHOT_METADATA_SERVICE"],
		"volumeMountGroup":    onNode["VOLUME_MOUNT_GROUP"],
		"volumeLimits":        node.DefaultOptions().MaximumVolumes > 0,
		"capReadOnlyMany":     takes(mount, csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY),
		// What follows from what a thin volume is.
		"multiplePVsSameID":              true,
		"singleNodeVolume":               false,
		"FSResizeFromSourceNotSupported": false,
	}
}

// nodeService is the node's service, without a pool.
func nodeService(t *testing.T) (service *nodecsi.Node, kubelet string) {
	t.Helper()
	kubelet = t.TempDir()
	root, err := confinedpath.OpenRoot(kubelet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	service, err = nodecsi.New(t.Context(), nodecsi.Config{NodeName: "node-1", Pools: pools.NewSet(nil), Kubelet: root})
	if err != nil {
		t.Fatal(err)
	}
	return service, kubelet
}

// takes tells whether the node would stage a volume with a capability: if so, all that it misses is the volume.
func takes(t *testing.T, service *nodecsi.Node, kubelet string, capability *csi.VolumeCapability, mode csi.VolumeCapability_AccessMode_Mode) bool {
	t.Helper()
	capability.AccessMode = &csi.VolumeCapability_AccessMode{Mode: mode}
	staging := filepath.Join(kubelet, "staging")
	_, err := service.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{VolumeId: "pvc-1", StagingTargetPath: staging, VolumeCapability: capability})
	if code := status.Code(err); code != codes.NotFound && code != codes.InvalidArgument {
		t.Errorf("%v: %v", capability, err)
	}
	return status.Code(err) == codes.NotFound
}
