//go:build chart

package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// TestRefusedValues: a value that the chart does not know, or cannot use, is refused by a message that names it.
func TestRefusedValues(t *testing.T) {
	for values, words := range map[string][]string{
		"colour: blue":                                                                     {"'colour' not allowed"},
		"controller: {colour: blue}":                                                       {"/controller", "'colour' not allowed"},
		"node: {image: {registry: x}}":                                                     {"/node/image", "'registry' not allowed"},
		"node: {image: {digest: abc}}":                                                     {"/node/image/digest", "sha256:"},
		"node: {image: {pullPolicy: Sometimes}}":                                           {"/node/image/pullPolicy", "'Always', 'IfNotPresent', 'Never'"},
		"node: {image: {tag: 'a b'}}":                                                      {"/node/image/tag"},
		"node: {resources: {limit: {}}}":                                                   {"/node/resources", "'limit' not allowed"},
		"node: {resources: {limits: {gpu: 1}}}":                                            {"/node/resources/limits", "'gpu' not allowed"},
		"node: {maxUnavailable: 0}":                                                        {"/node/maxUnavailable"},
		"node: {maxUnavailable: 10}":                                                       nil,
		"node: {loopbackDir: relative}":                                                    {"/node/loopbackDir"},
		"node: {runDir: /run/../etc}":                                                      {"/node/runDir"},
		"node: {httpPort: 0}":                                                              {"/node/httpPort", "minimum"},
		"node: {tolerations: [{key: a, effekt: b}]}":                                       {"/node/tolerations/0", "'effekt' not allowed"},
		"kubeletDir: '/var/lib/kubelet; rm'":                                               {"/kubeletDir"},
		"logLevel: high":                                                                   {"/logLevel", "want integer"},
		"logFormat: xml":                                                                   {"/logFormat", "'text', 'json'"},
		"controller: {replicas: 0}":                                                        {"/controller/replicas", "minimum"},
		"controller: {createTimeout: 45}":                                                  {"/controller/createTimeout", "want string"},
		"controller: {createTimeout: soon}":                                                {"/controller/createTimeout", "pattern"},
		"controller: {kubeAPI: {qps: 0}}":                                                  {"/controller/kubeAPI/qps"},
		"node: {kubeAPI: {burst: -1}}":                                                     {"/node/kubeAPI/burst"},
		"sidecars: {attacher: {}}":                                                         {"/sidecars", "'attacher' not allowed"},
		"sidecars: {resizer: {workers: 0}}":                                                {"/sidecars/resizer/workers", "minimum"},
		"storageClasses: [{name: a, allowVolumeExpansion: 1}]":                             {"/storageClasses/0/allowVolumeExpansion", "want boolean"},
		"sidecars: {snapshotter: {run: true}}":                                             {"/sidecars/snapshotter/run", "'auto', 'always', 'never'"},
		"volumeSnapshotClasses: [{}]":                                                      {"/volumeSnapshotClasses/0", "name"},
		"volumeSnapshotClasses: [{name: a, parameters: {a: b}}]":                           {"/volumeSnapshotClasses/0", "'parameters' not allowed"},
		"volumeGroupSnapshotClasses: [{name: a, pool: b}]":                                 {"/volumeGroupSnapshotClasses/0", "'pool' not allowed"},
		"volumeSnapshotClasses: [{name: a, deletionPolicy: Recycle}]":                      {"/volumeSnapshotClasses/0/deletionPolicy", "'Delete', 'Retain'"},
		"sidecars: {provisioner: {args: []}}":                                              {"/sidecars/provisioner", "'args' not allowed"},
		"pools: [{name: Bad, spec: {source: {loopback: {}}}}]":                             {"/pools/0/name"},
		"pools: [{name: a}]":                                                               {"/pools/0", "spec"},
		"pools: [{name: a, spec: {}}]":                                                     {"/pools/0/spec", "source"},
		"pools: [{name: a, spec: {source: {}}}]":                                           {"/pools/0/spec/source", "devices", "loopback"},
		"pools: [{name: a, spec: {source: {devices: [sdx]}}}]":                             {"/pools/0/spec/source/devices/0", "/dev/"},
		"pools: [{name: a, spec: {source: {dataDevice: /dev/sdx}}}]":                       {"/pools/0/spec/source", "metadataDevice"},
		"pools: [{name: a, spec: {source: {thinPoolDevice: vg/pool}}}]":                    {"/pools/0/spec/source/thinPoolDevice", "/dev/"},
		"pools: [{name: a, spec: {source: {thinPoolDevice: /dev/vg/pool, loopback: {}}}}]": {"/pools/0/spec/source"},
		"node: {inlineEphemeralVolumes: {enabled: on demand}}":                             {"/node/inlineEphemeralVolumes/enabled", "want boolean"},
		"node: {inlineEphemeralVolumes: {sizeLimit: 10GB}}":                                {"/node/inlineEphemeralVolumes/sizeLimit"},
		"node: {inlineEphemeralVolumes: {limit: 1Gi}}":                                     {"/node/inlineEphemeralVolumes", "'limit' not allowed"},
		"node: {trimInterval: weekly}":                                                     {"/node/trimInterval", "pattern"},
		"pools: [{name: a, spec: {source: {thinPoolDevice: /dev/vg/pool}}}, {name: b, spec: {source: {dataDevice: /dev/sdx, metadataDevice: /dev/sdy}}}]": nil,
		"pools: [{name: a, spec: {overprovision: 0, source: {loopback: {}}}}]":                                                                            {"/pools/0/spec/overprovision"},
		"pools: [{name: a, spec: {colour: b, source: {loopback: {}}}}]":                                                                                   {"/pools/0/spec", "'colour' not allowed"},
		"storageClasses: [{}]":                                {"/storageClasses/0", "name"},
		"storageClasses: [{name: a, fsType: btrfs}]":          {"/storageClasses/0/fsType", "'ext4', 'xfs'"},
		"storageClasses: [{name: a, reclaimPolicy: Recycle}]": {"/storageClasses/0/reclaimPolicy", "'Delete', 'Retain'"},
		"storageClasses: [{name: a, parameters: {}}]":         {"/storageClasses/0", "'parameters' not allowed"},
		"imagePullSecrets: [secret]":                          {"/imagePullSecrets/0"},
		"commonLabels: {a: 1}":                                {"/commonLabels/a", "want string"},
	} {
		_, err := template(t, values)
		if words == nil {
			if err != nil {
				t.Errorf("%s: refused: %v", values, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: accepted", values)
			continue
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: the refusal does not say %q: %v", values, word, err)
			}
		}
	}
}

// TestSchemaIsClosed: every object of the schema says which properties there are, and allows no other.
func TestSchemaIsClosed(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(folder, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema any
	if err := json.Unmarshal(content, &schema); err != nil {
		t.Fatal(err)
	}
	// Kubernetes' own structures, and what Helm itself puts in.
	open := map[string]bool{"/properties/controller/properties/affinity": true, "/properties/node/properties/affinity": true, "/properties/global": true}
	var walk func(path string, node any)
	walk = func(path string, node any) {
		object, ok := node.(map[string]any)
		if !ok {
			return
		}
		if object["type"] == "object" && !open[path] {
			if additional, ok := object["additionalProperties"]; !ok || additional == true {
				t.Errorf("%s takes any property", path)
			}
		}
		for key, value := range object {
			walk(path+"/"+key, value)
		}
	}
	walk("", schema)
}

// TestEveryValueMatters: a value that is changed changes what is rendered; one that does not is a lie in the documentation.
func TestEveryValueMatters(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(folder, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var defaults map[string]any
	if err := yaml.Unmarshal(content, &defaults); err != nil {
		t.Fatal(err)
	}
	// All sidecars run where the cluster knows the kinds of snapshots.
	before, err := template(t, "", snapshotKinds...)
	if err != nil {
		t.Fatal(err)
	}
	// What cannot be derived from the default by its type.
	special := map[string]string{
		"imagePullSecrets": "[{name: x}]", "logFormat": "json", "node.trimInterval": "7s",
		// It counts where inline volumes are enabled: TestInlineVolumes.
		"node.inlineEphemeralVolumes.sizeLimit": "7Gi, enabled: true",
		"controller.image.digest":               digest, "node.image.digest": digest, "sidecars.provisioner.image.digest": digest,
		"controller.image.pullPolicy": "Never", "node.image.pullPolicy": "Never", "sidecars.provisioner.image.pullPolicy": "Never",
		"controller.createTimeout": "7s", "controller.nodeGonePeriod": "7s", "sidecars.provisioner.timeout": "7s", "sidecars.provisioner.retryIntervalMax": "7s",
		"sidecars.resizer.image.digest": digest, "sidecars.resizer.image.pullPolicy": "Never", "sidecars.resizer.timeout": "7s", "sidecars.resizer.retryIntervalMax": "7s",
		"sidecars.snapshotter.run": "never", "sidecars.snapshotter.image.digest": digest, "sidecars.snapshotter.image.pullPolicy": "Never",
		"sidecars.snapshotter.timeout": "7s", "sidecars.snapshotter.retryIntervalMax": "7s", "volumeSnapshotClasses": "[{name: a}]", "volumeGroupSnapshotClasses": "[{name: a}]",
		"controller.tolerations": "[]", "node.tolerations": "[]", "node.maxUnavailable": "7%",
		"controller.affinity": "{nodeAffinity: {}}", "node.affinity": "{nodeAffinity: {}}",
		"pools": "[{name: a, spec: {source: {loopback: {}}}}]", "storageClasses": "[{name: a}]",
	}
	count := 0
	var walk func(path []string, node any)
	walk = func(path []string, node any) {
		if object, ok := node.(map[string]any); ok && len(object) > 0 {
			for key, value := range object {
				walk(append(path[:len(path):len(path)], key), value)
			}
			return
		}
		name := strings.Join(path, ".")
		changed, ok := special[name]
		if !ok {
			changed = other(t, name, node)
		}
		values := changed
		for i := len(path) - 1; i >= 0; i-- {
			values = "{" + path[i] + ": " + values + "}"
		}
		after, err := template(t, values, snapshotKinds...)
		if err != nil {
			t.Errorf("%s: %v", values, err)
		} else if after == before {
			t.Errorf("%s changes nothing", values)
		}
		count++
	}
	walk(nil, defaults)
	if count < 40 {
		t.Errorf("only %d values were looked at", count)
	}
}

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// other is another value of the same type.
func other(t *testing.T, name string, value any) string {
	t.Helper()
	switch v := value.(type) {
	case bool:
		return map[bool]string{true: "false", false: "true"}[v]
	case float64, int64:
		return "7"
	case string:
		if strings.HasPrefix(v, "/") {
			return v + "/other"
		}
		return "other"
	case map[string]any:
		return "{other: value}"
	}
	t.Fatalf("%s: no other value for %T", name, value)
	return ""
}

func unstructuredRules(object map[string]any) ([]rbacv1.PolicyRule, error) {
	var role rbacv1.ClusterRole
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &role)
	return role.Rules, err
}
