//go:build chart

package chart

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// TestAgentRights: the agent may read the driver's own two kinds and change their objects, which the admission policy narrows down.
func TestAgentRights(t *testing.T) {
	var role rbacv1.ClusterRole
	rendered := render(t, "")
	rendered.get("ClusterRole", "release-node", &role)
	want := map[string][]string{
		"nodethinpools":             {"get", "list", "watch", "update", "patch"},
		"thinvolumes":               {"get", "list", "watch", "update", "patch"},
		"thinsnapshots":             {"get", "list", "watch", "update", "patch"},
		"thingroupsnapshots":        {"get", "list", "watch", "update", "patch"},
		"nodethinpools/status":      {"update", "patch"},
		"thinvolumes/status":        {"update", "patch"},
		"thinsnapshots/status":      {"update", "patch"},
		"thingroupsnapshots/status": {"update", "patch"},
	}
	for _, rule := range role.Rules {
		if !slices.Equal(rule.APIGroups, []string{"csi-dm.io"}) || len(rule.NonResourceURLs) > 0 {
			t.Errorf("a rule beyond the driver's own kinds: %+v", rule)
		}
		for _, resource := range rule.Resources {
			if !slices.Equal(rule.Verbs, want[resource]) {
				t.Errorf("%s: verbs %q, want %q", resource, rule.Verbs, want[resource])
			}
			delete(want, resource)
		}
	}
	if len(want) > 0 {
		t.Errorf("not allowed: %v", want)
	}
	for _, kind := range []string{"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"} {
		if !rendered.has(kind, "release-node.csi-dm.io") {
			t.Errorf("there is no %s", kind)
		}
	}
}

// TestNoWildcards: no account may do anything with everything, or read secrets.
func TestNoWildcards(t *testing.T) {
	for _, object := range render(t, "").list {
		if kind := object.GetKind(); kind != "ClusterRole" && kind != "Role" {
			continue
		}
		rules, err := unstructuredRules(object.Object)
		if err != nil {
			t.Fatal(err)
		}
		if len(rules) == 0 {
			t.Errorf("%s %s has no rules", object.GetKind(), object.GetName())
		}
		for _, rule := range rules {
			for _, part := range [][]string{rule.APIGroups, rule.Resources, rule.Verbs} {
				if slices.Contains(part, "*") {
					t.Errorf("%s %s: wildcard in %+v", object.GetKind(), object.GetName(), rule)
				}
			}
			if slices.Contains(rule.Resources, "secrets") {
				t.Errorf("%s %s: secrets in %+v", object.GetKind(), object.GetName(), rule)
			}
		}
	}
}

// TestCSIDriver: what the scheduler and kubelet are told of the driver; a field only where Kubernetes knows it.
func TestCSIDriver(t *testing.T) {
	for version, prevents := range map[string]bool{"1.32.0": false, "1.36.4": false, "1.37.0": true, "1.38.0": true} {
		var driver storagev1.CSIDriver
		render(t, "", "--kube-version", version).get("CSIDriver", "csi-dm.io", &driver)
		spec := driver.Spec
		if spec.SELinuxMount == nil || !*spec.SELinuxMount {
			t.Error("kubelet relabels every file: seLinuxMount is not set")
		}
		if *spec.AttachRequired || *spec.PodInfoOnMount || !*spec.StorageCapacity || *spec.FSGroupPolicy != storagev1.FileFSGroupPolicy ||
			!slices.Equal(spec.VolumeLifecycleModes, []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent}) {
			t.Errorf("spec is %+v", spec)
		}
		if got := spec.PreventPodSchedulingIfMissing != nil && *spec.PreventPodSchedulingIfMissing; got != prevents {
			t.Errorf("Kubernetes %s: preventPodSchedulingIfMissing is %t", version, got)
		}
	}
}

// agentFlags are the flags that the agent gets, with their values.
func (o objects) agentFlags() map[string]string {
	o.t.Helper()
	var set appsv1.DaemonSet
	o.get("DaemonSet", "release-node", &set)
	flags := map[string]string{}
	for _, argument := range set.Spec.Template.Spec.Containers[0].Args {
		name, value, _ := strings.Cut(argument, "=")
		flags[name] = value
	}
	return flags
}

// TestTrimInterval: how often file systems are trimmed is the values' choice, and daily without one.
func TestTrimInterval(t *testing.T) {
	for values, want := range map[string]string{"": "24h", "node: {trimInterval: 0s}": "0s"} {
		if interval := render(t, values).agentFlags()["--trim-interval"]; interval != want {
			t.Errorf("%q: the interval is %q", values, interval)
		}
	}
}

// TestInlineVolumes: inline ephemeral volumes are off unless the values say otherwise; then kubelet passes them on with what the agent
// knows them by, and the agent has the limit.
func TestInlineVolumes(t *testing.T) {
	const flag = "--ephemeral-size-limit"
	off := render(t, "node: {inlineEphemeralVolumes: {sizeLimit: 2Gi}}").agentFlags()
	if value, given := off[flag]; given {
		t.Errorf("off, and the agent has %s=%s", flag, value)
	}
	rendered := render(t, "node: {inlineEphemeralVolumes: {enabled: true, sizeLimit: 2Gi}}")
	var driver storagev1.CSIDriver
	rendered.get("CSIDriver", "csi-dm.io", &driver)
	modes := []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent, storagev1.VolumeLifecycleEphemeral}
	if !slices.Equal(driver.Spec.VolumeLifecycleModes, modes) || !*driver.Spec.PodInfoOnMount {
		t.Errorf("on: spec is %+v", driver.Spec)
	}
	if limit := rendered.agentFlags()[flag]; limit != "2Gi" {
		t.Errorf("on: the limit is %q", limit)
	}
}

// TestKubeVersion: a cluster that is too old is refused.
func TestKubeVersion(t *testing.T) {
	_, err := template(t, "", "--kube-version", "1.31.9")
	if err == nil || !strings.Contains(err.Error(), ">=1.32.0-0") {
		t.Errorf("Kubernetes 1.31.9: %v", err)
	}
}

// TestStorageClasses: what the values say becomes the parameters that the driver knows.
func TestStorageClasses(t *testing.T) {
	rendered := render(t, `
storageClasses:
  - name: plain
  - name: tuned
    default: true
    pool: fast
    fsType: xfs
    mkfsOptions: -i size=1024
    rootMode: "2770"
    reclaimPolicy: Retain
    allowVolumeExpansion: false
    mountOptions: [noatime, discard]
    annotations: {a: b}
    labels: {c: d}
`)
	var plain, tuned storagev1.StorageClass
	rendered.get("StorageClass", "plain", &plain)
	rendered.get("StorageClass", "tuned", &tuned)
	for _, class := range []storagev1.StorageClass{plain, tuned} {
		if class.Provisioner != "csi-dm.io" || *class.VolumeBindingMode != storagev1.VolumeBindingWaitForFirstConsumer {
			t.Errorf("class is %+v", class)
		}
	}
	if !*plain.AllowVolumeExpansion || *tuned.AllowVolumeExpansion {
		t.Errorf("volumes can grow: %t by default, %t where the values forbid it", *plain.AllowVolumeExpansion, *tuned.AllowVolumeExpansion)
	}
	if plain.Parameters["csi-dm.io/pool"] != "default" || plain.Parameters["csi.storage.k8s.io/fstype"] != "ext4" || len(plain.Parameters) != 2 {
		t.Errorf("parameters are %v", plain.Parameters)
	}
	if tuned.Parameters["csi-dm.io/pool"] != "fast" || tuned.Parameters["csi.storage.k8s.io/fstype"] != "xfs" ||
		tuned.Parameters["csi-dm.io/mkfs-options"] != "-i size=1024" || tuned.Parameters["csi-dm.io/root-mode"] != "2770" || len(tuned.Parameters) != 4 {
		t.Errorf("parameters are %v", tuned.Parameters)
	}
	if *tuned.ReclaimPolicy != "Retain" || !slices.Equal(tuned.MountOptions, []string{"noatime", "discard"}) ||
		tuned.Annotations["storageclass.kubernetes.io/is-default-class"] != "true" || tuned.Annotations["a"] != "b" || tuned.Labels["c"] != "d" {
		t.Errorf("class is %+v", tuned)
	}
}

// TestKindsStay: helm leaves the kinds, and with them all objects, when the chart is uninstalled, and renders none of those objects
// itself.
func TestKindsStay(t *testing.T) {
	rendered := render(t, "pools: [{name: default, spec: {source: {devices: [/dev/sdx]}}}]")
	kinds := 0
	for _, object := range rendered.list {
		switch {
		case object.GetKind() == "CustomResourceDefinition":
			kinds++
			if object.GetAnnotations()["helm.sh/resource-policy"] != "keep" {
				t.Errorf("%s is not kept", object.GetName())
			}
		case strings.HasPrefix(object.GetAPIVersion(), "csi-dm.io/"):
			t.Errorf("%s %s would go with the chart", object.GetKind(), object.GetName())
		}
	}
	if kinds != 5 {
		t.Errorf("%d kinds, want 5", kinds)
	}
}

// TestLongReleaseName: names stay valid.
func TestLongReleaseName(t *testing.T) {
	output, err := templateAs(t, strings.Repeat("r", 53), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range parse(t, output).list {
		if len(object.GetName()) > 63 && object.GetKind() != "CustomResourceDefinition" && !strings.HasPrefix(object.GetKind(), "ValidatingAdmissionPolicy") {
			t.Errorf("%s %s has %d characters", object.GetKind(), object.GetName(), len(object.GetName()))
		}
	}
}
