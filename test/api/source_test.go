//go:build e2e

package api

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// TestSourceChanges: of what a pool is made of nothing can be exchanged, whatever kind of source it is; it can become larger.
func TestSourceChanges(t *testing.T) {
	const (
		immutable = "source is immutable"
		place     = "none can be removed or change its place"
	)
	type change struct{ patch, refused string } // refused: "" if the change is allowed, then it stays for the next
	for name, pool := range map[string]struct {
		spec    string
		changes []change
	}{
		"devices": {"{source: {devices: [/dev/sdx]}}", []change{
			{"{source: {devices: [/dev/sdx, /dev/sdy]}}", ""},
			{"{source: {devices: [/dev/sdx]}}", place},
			{"{source: {devices: [/dev/sdy, /dev/sdx]}}", place},
			{"{source: {devices: [/dev/sdx, /dev/sdz, /dev/sdy]}}", place},
			{"{source: {devices: [/dev/sdx, /dev/sdy, /dev/sdz], force: [ext4]}}", ""},
			{"{source: {devices: null, thinPoolDevice: /dev/vg/pool}}", immutable},
			{"{source: {devices: null, force: null, loopback: {}}}", immutable},
			{"{blockSize: 64Ki}", ""}, // what it had without
			{"{blockSize: 128Ki}", "blockSize is immutable"},
			{"{blockSize: null}", ""},
		}},
		"separate": {"{source: {dataDevice: /dev/sdx, metadataDevice: /dev/sdy}}", []change{
			{"{source: {dataDevice: /dev/sdz}}", immutable},
			{"{source: {metadataDevice: /dev/sdz}}", immutable},
			{"{source: {dataDevice: /dev/sdy, metadataDevice: /dev/sdx}}", immutable},
			{"{source: {dataDevice: null, metadataDevice: null, devices: [/dev/sdx, /dev/sdy]}}", immutable},
			{"{source: {metadataDevice: null}}", "go together"},
			{"{source: {force: [gpt]}}", ""},
		}},
		"handed-over": {"{source: {thinPoolDevice: /dev/vg/pool}}", []change{
			{"{source: {thinPoolDevice: /dev/vg/other}}", immutable},
			{"{source: {thinPoolDevice: null, devices: [/dev/vg/pool]}}", immutable},
			{"{source: {thinPoolDevice: null, loopback: {}}}", immutable},
			{"{blockSize: 128Ki}", ""}, // the node compares it with the pool's
			{"{blockSize: 256Ki}", "blockSize is immutable"},
		}},
		"loopback": {"{source: {loopback: {size: 1Gi}}}", []change{
			{"{source: {loopback: {size: 512Mi}}}", "source.loopback.size cannot shrink"},
			{"{source: {loopback: {size: 1024Mi}}}", ""},
			{"{source: {loopback: {size: 2Gi}}}", ""},
			{"{source: {loopback: {size: 1Gi}}}", "source.loopback.size cannot shrink"},
			{"{source: {loopback: null, devices: [/dev/sdx]}}", immutable},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, kind := range []string{"ThinPool", "NodeThinPool"} {
				spec := pool.spec
				if kind == "NodeThinPool" {
					spec = "{nodeName: nowhere, poolName: source, " + strings.TrimPrefix(spec, "{")
				}
				object := manifest(t, kind, "source-"+name, spec)
				if err := suite.Create(t.Context(), object); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { remove(t, object) })
				for _, change := range pool.changes {
					patch, err := yaml.YAMLToJSON([]byte("spec: " + change.patch))
					if err != nil {
						t.Fatal(err)
					}
					err = suite.Patch(t.Context(), manifest(t, kind, "source-"+name, "{}"), client.RawPatch("application/merge-patch+json", patch))
					switch {
					case change.refused == "" && err != nil:
						t.Errorf("%s: %s: refused: %v", kind, change.patch, err)
					case change.refused != "" && err == nil:
						t.Fatalf("%s: %s: accepted", kind, change.patch)
					case change.refused != "" && !strings.Contains(err.Error(), change.refused):
						t.Errorf("%s: %s: the refusal does not say %q: %v", kind, change.patch, change.refused, err)
					}
				}
			}
		})
	}
}
