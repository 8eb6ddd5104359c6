//go:build e2e

package api

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// manifest is an object of a kind with a spec in YAML's flow style.
func manifest(t *testing.T, kind, name, spec string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	text := fmt.Sprintf("metadata: {name: %q}\nspec: %s\n", name, spec)
	if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	return object
}

const devices = "source: {devices: [/dev/sdx]}"

const snapshotSpec = "{nodeName: nowhere, poolName: refused, volumeName: a, capacity: 1Gi}"

// oneKind is what is said of a source that is none, or two.
const oneKind = "exactly one of devices, dataDevice with metadataDevice, thinPoolDevice, and loopback"

// TestAcceptedKinds: what is right is accepted, and defaults are filled in.
func TestAcceptedKinds(t *testing.T) {
	for _, accepted := range []struct {
		kind, name, spec string
		want             map[string]any // dotted path below spec to value
	}{
		{"ThinPool", "accepted-defaults", "{" + devices + "}", map[string]any{
			"blockSize": nil, "minFreeSpace": "10%", "overprovision": "1", "whenFull": "Error", "discardOnDelete": true}},
		{"ThinPool", "accepted-separate", "{source: {dataDevice: /dev/disk/by-id/ata-1, metadataDevice: /dev/disk/by-id/nvme-1, force: [gpt]}}", nil},
		{"ThinPool", "accepted-handed-over", "{source: {thinPoolDevice: /dev/vg/pool}}", map[string]any{"blockSize": nil, "source.thinPoolDevice": "/dev/vg/pool"}},
		{"ThinPool", "accepted-handed-blocks", "{blockSize: 512Ki, source: {thinPoolDevice: /dev/mapper/vg-pool}}", map[string]any{"blockSize": "512Ki"}},
		{"ThinPool", "accepted-loopback", "{source: {loopback: {}}}", map[string]any{"source.loopback.size": "100Gi"}},
		{"ThinPool", "accepted-block-size", "{blockSize: 1Gi, " + devices + "}", map[string]any{"blockSize": "1Gi"}},
		{"ThinPool", "accepted-block-bytes", `{blockSize: "131072", ` + devices + "}", map[string]any{"blockSize": "131072"}},
		{"ThinPool", "accepted-whole", "{overprovision: 100, " + devices + "}", map[string]any{"overprovision": int64(100)}},
		{"ThinPool", "accepted-fraction", `{overprovision: "1.5", ` + devices + "}", map[string]any{"overprovision": "1.5"}},
		{"ThinPool", "accepted-milli", "{overprovision: 2500m, " + devices + "}", map[string]any{"overprovision": "2500m"}},
		{"ThinPool", "accepted-free", "{minFreeSpace: 0%, " + devices + "}", map[string]any{"minFreeSpace": "0%"}},
		{"ThinPool", "accepted-by-id", "{source: {devices: [/dev/disk/by-id/nvme-Samsung_SSD_990.PRO_1TB-part1, /dev/mapper/a+b], force: [ext4, LVM2_member]}}", nil},
		{"ThinPool", "accepted-selector", "{nodeSelector: {matchLabels: {nowhere: x}, matchExpressions: [{key: a, operator: In, values: [b]}, {key: c, operator: Exists}]}, " + devices + "}", nil},
		{"ThinPool", strings.Repeat("a", 40), "{" + devices + "}", nil},
		{"NodeThinPool", "accepted.node-a", "{nodeName: node-a, poolName: accepted, " + devices + "}", map[string]any{"minFreeSpace": "10%"}},
		{"ThinVolume", "accepted-a1b2c3d4", "{nodeName: nowhere, poolName: accepted, capacity: 10Gi, fsType: ext4}", map[string]any{"volumeMode": "Filesystem"}},
		{"ThinVolume", "accepted-block", "{nodeName: nowhere, poolName: accepted, capacity: 10Gi, volumeMode: Block}", map[string]any{"fsType": nil}},
		{"ThinVolume", "accepted-number", "{nodeName: nowhere, poolName: accepted, capacity: 1073741824, fsType: xfs, mkfsOptions: [-i, size=1024], rootMode: '2770'}", nil},
		{"ThinVolume", "accepted-restored", "{nodeName: nowhere, poolName: accepted, capacity: 10Gi, fsType: ext4, source: {snapshotName: snapshot-1}}", nil},
		{"ThinVolume", "accepted-clone", "{nodeName: nowhere, poolName: accepted, capacity: 10Gi, fsType: xfs, source: {volumeName: pvc-1-a1b2c3d4}}", nil},
		{"ThinGroupSnapshot", "accepted-group", "{nodeName: nowhere, poolName: accepted, members: [{volumeName: a, snapshotName: b, capacity: 1Gi}, {volumeName: c, snapshotName: d, capacity: 2Gi, fsType: xfs}]}", nil},
		{"ThinSnapshot", "accepted-snapshot", "{nodeName: nowhere, poolName: accepted, volumeName: pvc-1-a1b2c3d4, capacity: 10Gi, fsType: xfs, claim: {namespace: a, name: b}}", nil},
		{"ThinSnapshot", "accepted.snapshot", "{nodeName: nowhere, poolName: accepted, volumeName: a, capacity: 1}", nil},
	} {
		t.Run(accepted.kind+"/"+accepted.name, func(t *testing.T) {
			object := manifest(t, accepted.kind, accepted.name, accepted.spec)
			if err := client.WithFieldValidation(suite, "Strict").Create(t.Context(), object); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { remove(t, object) })
			for path, want := range accepted.want {
				got, _, err := unstructured.NestedFieldNoCopy(object.Object, append([]string{"spec"}, strings.Split(path, ".")...)...)
				if err != nil || fmt.Sprint(got) != fmt.Sprint(want) { // nil: not set
					t.Errorf("spec.%s is %v (%v), want %v", path, got, err, want)
				}
			}
		})
	}
}

// TestRefusedKinds: what is wrong is refused, by a message that names the field and what is allowed.
func TestRefusedKinds(t *testing.T) {
	pool := func(more string) string { return "{" + more + "}" }
	for _, refused := range []struct {
		kind, name, spec string
		words            []string
	}{
		{"ThinGroupSnapshot", "no-members", "{nodeName: nowhere, poolName: refused, members: []}", []string{"spec.members", "at least 1 items"}},
		{"ThinGroupSnapshot", "one-volume-twice", "{nodeName: nowhere, poolName: refused, members: [{volumeName: a, snapshotName: b, capacity: 1Gi}, {volumeName: a, snapshotName: c, capacity: 1Gi}]}", []string{"spec.members[1]", "Duplicate value"}},
		{"ThinGroupSnapshot", "one-name-twice", "{nodeName: nowhere, poolName: refused, members: [{volumeName: a, snapshotName: b, capacity: 1Gi}, {volumeName: c, snapshotName: b, capacity: 1Gi}]}", []string{"snapshotName may be there once"}},
		{"ThinVolume", "two-origins", "{nodeName: nowhere, poolName: refused, capacity: 1Gi, fsType: ext4, source: {snapshotName: a, volumeName: b}}", []string{"spec.source", "exactly one of snapshotName and volumeName"}},
		{"ThinVolume", "no-origin", "{nodeName: nowhere, poolName: refused, capacity: 1Gi, fsType: ext4, source: {}}", []string{"spec.source", "exactly one of snapshotName and volumeName"}},
		{"ThinVolume", "bad-origin", "{nodeName: nowhere, poolName: refused, capacity: 1Gi, fsType: ext4, source: {snapshotName: ../x}}", []string{"spec.source.snapshotName", "../x"}},
		{"ThinVolume", "origin-and-mkfs", "{nodeName: nowhere, poolName: refused, capacity: 1Gi, fsType: ext4, mkfsOptions: [-O, x], source: {volumeName: a}}", []string{"mkfsOptions do not go with source"}},
		{"ThinVolume", "a.snapshot", "{nodeName: nowhere, poolName: refused, capacity: 1Gi, fsType: ext4}", []string{"metadata.name", ".snapshot"}},
		{"ThinSnapshot", strings.Repeat("a", 81), snapshotSpec, []string{"metadata.name", "80 characters"}},
		{"ThinSnapshot", "no-volume", "{nodeName: nowhere, poolName: refused, capacity: 1Gi}", []string{"spec.volumeName", "Required value"}},
		{"ThinSnapshot", "bad-volume", "{nodeName: nowhere, poolName: refused, volumeName: ../etc, capacity: 1Gi}", []string{"spec.volumeName", "../etc"}},
		{"ThinSnapshot", "no-capacity", "{nodeName: nowhere, poolName: refused, volumeName: a, capacity: 0}", []string{"capacity must be greater than 0"}},
		{"ThinSnapshot", "file-system", "{nodeName: nowhere, poolName: refused, volumeName: a, capacity: 1Gi, fsType: btrfs}", []string{"spec.fsType", "ext4", "xfs"}},
		{"ThinPool", "no-source", pool("blockSize: 64Ki"), []string{"spec.source", "Required value"}},
		{"ThinPool", "empty-source", pool("source: {}"), []string{"spec.source", oneKind}},
		{"ThinPool", "two-sources", pool("source: {devices: [/dev/sdx], loopback: {}}"), []string{"spec.source", oneKind}},
		{"ThinPool", "devices-and-separate", pool("source: {devices: [/dev/sdx], dataDevice: /dev/sdy, metadataDevice: /dev/sdz}"), []string{"spec.source", oneKind}},
		{"ThinPool", "separate-and-handed", pool("source: {dataDevice: /dev/sdy, metadataDevice: /dev/sdz, thinPoolDevice: /dev/vg/pool}"), []string{"spec.source", oneKind}},
		{"ThinPool", "handed-and-loopback", pool("source: {thinPoolDevice: /dev/vg/pool, loopback: {}}"), []string{"spec.source", oneKind}},
		{"ThinPool", "data-alone", pool("source: {dataDevice: /dev/sdx}"), []string{"source.dataDevice and source.metadataDevice go together"}},
		{"ThinPool", "metadata-alone", pool("source: {metadataDevice: /dev/sdx}"), []string{"source.dataDevice and source.metadataDevice go together"}},
		{"ThinPool", "one-for-both", pool("source: {dataDevice: /dev/sdx, metadataDevice: /dev/sdx}"), []string{"must be two devices"}},
		{"ThinPool", "data-elsewhere", pool("source: {dataDevice: /etc/passwd, metadataDevice: /dev/sdx}"), []string{"spec.source.dataDevice", "^/dev/"}},
		{"ThinPool", "metadata-traversal", pool("source: {dataDevice: /dev/sdx, metadataDevice: /dev/../x}"), []string{"spec.source.metadataDevice", "^/dev/"}},
		{"ThinPool", "handed-name", pool("source: {thinPoolDevice: vg/pool}"), []string{"spec.source.thinPoolDevice", "^/dev/"}},
		{"ThinPool", "handed-traversal", pool("source: {thinPoolDevice: /dev/mapper/../../x}"), []string{"spec.source.thinPoolDevice", "^/dev/"}},
		{"ThinPool", "handed-long", pool("source: {thinPoolDevice: /dev/" + strings.Repeat("a", 256) + "}"), []string{"spec.source.thinPoolDevice", "255"}},
		{"ThinPool", "force-handed", pool("source: {thinPoolDevice: /dev/vg/pool, force: [ext4]}"), []string{"source.force goes with source.devices, or with source.dataDevice"}},
		{"ThinPool", "no-devices", pool("source: {devices: []}"), []string{"spec.source.devices", "at least 1 items"}},
		{"ThinPool", "double-device", pool("source: {devices: [/dev/sdx, /dev/sdx]}"), []string{"spec.source.devices[1]", "Duplicate value"}},
		{"ThinPool", "relative", pool("source: {devices: [sdx]}"), []string{"spec.source.devices[0]", "^/dev/"}},
		{"ThinPool", "elsewhere", pool("source: {devices: [/etc/passwd]}"), []string{"spec.source.devices[0]", "^/dev/"}},
		{"ThinPool", "traversal", pool("source: {devices: [/dev/../etc/passwd]}"), []string{"spec.source.devices[0]", "^/dev/"}},
		{"ThinPool", "dot", pool("source: {devices: [/dev/./sdx]}"), []string{"spec.source.devices[0]", "^/dev/"}},
		{"ThinPool", "blank", pool(`source: {devices: ["/dev/sd x"]}`), []string{"spec.source.devices[0]", "^/dev/"}},
		{"ThinPool", "option", pool(`source: {devices: ["/dev/sdx --force"]}`), []string{"spec.source.devices[0]", "^/dev/"}},
		{"ThinPool", "force-alone", pool("source: {loopback: {}, force: [ext4]}"), []string{"source.force goes with source.devices"}},
		{"ThinPool", "force-name", pool(`source: {devices: [/dev/sdx], force: ["a b"]}`), []string{"spec.source.force[0]"}},
		{"ThinPool", "loop-small", pool("source: {loopback: {size: 255Mi}}"), []string{"source.loopback.size must be from 256Mi to 16Ti"}},
		{"ThinPool", "loop-large", pool("source: {loopback: {size: 17Ti}}"), []string{"source.loopback.size must be from 256Mi to 16Ti"}},
		{"ThinPool", "loop-odd", pool("source: {loopback: {size: '300000000'}}"), []string{"source.loopback.size must be from 256Mi to 16Ti, in whole Mi"}},
		{"ThinPool", "loop-unit", pool("source: {loopback: {size: 10GB}}"), []string{"spec.source.loopback.size"}},
		{"ThinPool", "block-odd", pool("blockSize: 100Ki, " + devices), []string{"blockSize must be a multiple of 64Ki from 64Ki to 1Gi"}},
		{"ThinPool", "block-zero", pool(`blockSize: "0", ` + devices), []string{"blockSize must be a multiple of 64Ki from 64Ki to 1Gi"}},
		{"ThinPool", "block-small", pool("blockSize: 32Ki, " + devices), []string{"blockSize must be a multiple of 64Ki from 64Ki to 1Gi"}},
		{"ThinPool", "block-large", pool("blockSize: 2Gi, " + devices), []string{"blockSize must be a multiple of 64Ki from 64Ki to 1Gi"}},
		{"ThinPool", "block-huge", pool(`blockSize: "999999999999999999999999", ` + devices), []string{"blockSize must be a multiple of 64Ki from 64Ki to 1Gi"}},
		{"ThinPool", "block-word", pool("blockSize: large, " + devices), []string{"spec.blockSize"}},
		{"ThinPool", "free-100", pool("minFreeSpace: 100%, " + devices), []string{"spec.minFreeSpace", "%"}},
		{"ThinPool", "free-bytes", pool("minFreeSpace: 1Gi, " + devices), []string{"spec.minFreeSpace"}},
		{"ThinPool", "free-negative", pool("minFreeSpace: -1%, " + devices), []string{"spec.minFreeSpace"}},
		{"ThinPool", "over-0", pool("overprovision: 0, " + devices), []string{"overprovision must be from 1 to 100"}},
		{"ThinPool", "over-half", pool(`overprovision: "0.5", ` + devices), []string{"overprovision must be from 1 to 100"}},
		{"ThinPool", "over-milli", "{overprovision: 999m, " + devices + "}", []string{"overprovision must be from 1 to 100"}},
		{"ThinPool", "over-101", pool("overprovision: 101, " + devices), []string{"overprovision must be from 1 to 100"}},
		{"ThinPool", "over-negative", pool("overprovision: -1, " + devices), []string{"overprovision"}},
		{"ThinPool", "over-word", pool("overprovision: much, " + devices), []string{"spec.overprovision"}},
		{"ThinPool", "when-full", pool("whenFull: Panic, " + devices), []string{"spec.whenFull", `"Error"`, `"Wait"`}},
		{"ThinPool", "selector-operator", pool("nodeSelector: {matchExpressions: [{key: a, operator: Near}]}, " + devices), []string{"spec.nodeSelector", "Exists or DoesNotExist"}},
		{"ThinPool", "selector-no-values", pool("nodeSelector: {matchExpressions: [{key: a, operator: In}]}, " + devices), []string{"spec.nodeSelector", "In or NotIn, with values"}},
		{"ThinPool", "selector-values", pool("nodeSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}, " + devices), []string{"spec.nodeSelector", "without"}},
		{"ThinPool", "unknown", pool("colour: blue, " + devices), []string{"unknown field", "spec.colour"}},
		{"ThinPool", strings.Repeat("a", 41), pool(devices), []string{"metadata.name", "at most 40 characters"}},
		{"ThinPool", "a.b", pool(devices), []string{"metadata.name", "lower-case letters, digits and '-'"}},
		{"NodeThinPool", "refused.node", "{poolName: refused, " + devices + "}", []string{"spec.nodeName", "Required value"}},
		{"NodeThinPool", "refused.node", "{nodeName: node, poolName: refused, blockSize: 100Ki, " + devices + "}", []string{"blockSize must be a multiple of 64Ki from 64Ki to 1Gi"}},
		{"ThinVolume", "size-0", "{nodeName: node, poolName: p, capacity: 0, fsType: ext4}", []string{"capacity must be greater than 0"}},
		{"ThinVolume", "size-negative", "{nodeName: node, poolName: p, capacity: -1Gi, fsType: ext4}", []string{"capacity must be greater than 0"}},
		{"ThinVolume", "fs", "{nodeName: node, poolName: p, capacity: 1Gi, fsType: btrfs}", []string{"spec.fsType", `"ext4"`, `"xfs"`}},
		{"ThinVolume", "no-fs", "{nodeName: node, poolName: p, capacity: 1Gi}", []string{"fsType is required with volumeMode Filesystem"}},
		{"ThinVolume", "block-fs", "{nodeName: node, poolName: p, capacity: 1Gi, volumeMode: Block, fsType: ext4}", []string{"fsType", "must be absent with Block"}},
		{"ThinVolume", "block-mkfs", "{nodeName: node, poolName: p, capacity: 1Gi, volumeMode: Block, mkfsOptions: [-m, '1']}", []string{"mkfsOptions must be absent with volumeMode Block"}},
		{"ThinVolume", "mode", "{nodeName: node, poolName: p, capacity: 1Gi, volumeMode: Raw}", []string{"spec.volumeMode", `"Filesystem"`, `"Block"`}},
		{"ThinVolume", "block-root", "{nodeName: node, poolName: p, capacity: 1Gi, volumeMode: Block, rootMode: '0770'}", []string{"rootMode must be absent with volumeMode Block"}},
		{"ThinVolume", "root-mode", "{nodeName: node, poolName: p, capacity: 1Gi, fsType: ext4, rootMode: '4770'}", []string{"spec.rootMode"}},
		{"ThinVolume", "no-node", "{poolName: p, capacity: 1Gi, fsType: ext4}", []string{"spec.nodeName", "Required value"}},
		{"ThinVolume", strings.Repeat("v", 97), "{nodeName: node, poolName: p, capacity: 1Gi, fsType: ext4}", []string{"metadata.name", "at most 96 characters"}},
	} {
		t.Run(refused.kind+"/"+refused.name, func(t *testing.T) {
			object := manifest(t, refused.kind, refused.name, refused.spec)
			err := client.WithFieldValidation(suite, "Strict").Create(t.Context(), object)
			if err == nil {
				remove(t, object)
				t.Fatal("accepted")
			}
			for _, word := range refused.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("the refusal does not say %q: %v", word, err)
				}
			}
		})
	}
}

// TestImmutableFields: what the kernel cannot change, nobody can.
func TestImmutableFields(t *testing.T) {
	base := map[string]string{
		"ThinPool":          "{blockSize: 128Ki, " + devices + "}",
		"NodeThinPool":      "{nodeName: node-a, poolName: immutable, " + devices + "}",
		"ThinVolume":        "{nodeName: nowhere, poolName: p, capacity: 2Gi, fsType: ext4, mkfsOptions: [-m, '1']}",
		"ThinSnapshot":      "{nodeName: nowhere, poolName: p, volumeName: a, capacity: 2Gi}",
		"ThinGroupSnapshot": "{nodeName: nowhere, poolName: p, members: [{volumeName: a, snapshotName: b, capacity: 1Gi}]}",
	}
	for kind, spec := range base {
		object := manifest(t, kind, "immutable", spec)
		if err := suite.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { remove(t, object) })
	}
	for _, change := range []struct {
		kind, patch string
		words       []string // none: the change is allowed
	}{
		{"ThinPool", "{source: {devices: [/dev/sdy]}}", []string{"source is immutable"}},
		{"ThinPool", "{source: {devices: [/dev/sdy, /dev/sdx]}}", []string{"source is immutable"}},
		{"ThinPool", "{source: {devices: null, loopback: {}}}", []string{"source is immutable"}},
		{"ThinPool", "{source: {force: [ext4]}}", nil},
		{"ThinPool", "{blockSize: 64Ki}", []string{"blockSize is immutable"}},
		{"ThinPool", `{blockSize: "131072"}`, nil},
		{"ThinPool", "{blockSize: null}", []string{"blockSize is immutable"}},
		{"ThinPool", "{overprovision: 3, minFreeSpace: 20%, whenFull: Wait, discardOnDelete: false}", nil},
		{"NodeThinPool", "{nodeName: node-b}", []string{"nodeName is immutable"}},
		{"NodeThinPool", "{poolName: other}", []string{"poolName is immutable"}},
		{"NodeThinPool", "{source: {devices: [/dev/sdy]}}", []string{"source is immutable"}},
		{"ThinVolume", "{nodeName: elsewhere}", []string{"nodeName and poolName are immutable"}},
		{"ThinVolume", "{poolName: other}", []string{"nodeName and poolName are immutable"}},
		{"ThinVolume", "{capacity: 1Gi}", []string{"capacity cannot shrink"}},
		{"ThinVolume", "{capacity: 3Gi}", nil},
		{"ThinVolume", "{fsType: xfs}", []string{"fsType and mkfsOptions are immutable"}},
		{"ThinVolume", "{volumeMode: Block, fsType: null, mkfsOptions: null}", []string{"volumeMode is immutable"}},
		{"ThinVolume", "{rootMode: '0700'}", []string{"rootMode is immutable"}},
		{"ThinVolume", "{mkfsOptions: null}", []string{"fsType and mkfsOptions are immutable"}},
		{"ThinVolume", "{source: {volumeName: a}}", []string{"source is immutable"}},
		{"ThinGroupSnapshot", "{members: [{volumeName: c, snapshotName: b, capacity: 1Gi}]}", []string{"spec is immutable"}},
		{"ThinSnapshot", "{volumeName: b}", []string{"spec is immutable"}},
		{"ThinSnapshot", "{capacity: 3Gi}", []string{"spec is immutable"}},
	} {
		t.Run(change.kind+"/"+change.patch, func(t *testing.T) {
			object := manifest(t, change.kind, "immutable", "{}")
			patch, err := yaml.YAMLToJSON([]byte("spec: " + change.patch))
			if err != nil {
				t.Fatal(err)
			}
			err = suite.Patch(t.Context(), object, client.RawPatch("application/merge-patch+json", patch))
			if len(change.words) == 0 {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("accepted")
			}
			for _, word := range change.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("the refusal does not say %q: %v", word, err)
				}
			}
		})
	}
}
