//go:build chart

package chart

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// snapshotKinds have helm believe that the cluster serves the kinds of snapshots.
var snapshotKinds = []string{"--api-versions", "snapshot.storage.k8s.io/v1"}

// TestSnapshotter: csi-snapshotter, and the rights for it, are there where they can be used or are asked for, and nowhere else:
// in a cluster without the kinds it would do nothing but complain.
func TestSnapshotter(t *testing.T) {
	for name, c := range map[string]struct {
		values    string
		arguments []string
		want      bool
	}{
		"cluster without the kinds":        {"", nil, false},
		"cluster with the kinds":           {"", snapshotKinds, true},
		"not wanted":                       {"sidecars: {snapshotter: {run: never}}", snapshotKinds, false},
		"wanted though helm cannot see it": {"sidecars: {snapshotter: {run: always}}", nil, true},
	} {
		rendered := render(t, c.values, c.arguments...)
		var deployment appsv1.Deployment
		rendered.get("Deployment", "release-controller", &deployment)
		containers := deployment.Spec.Template.Spec.Containers
		index := slices.IndexFunc(containers, func(container corev1.Container) bool { return container.Name == "csi-snapshotter" })
		var role rbacv1.ClusterRole
		rendered.get("ClusterRole", "release-controller", &role)
		allowed := slices.ContainsFunc(role.Rules, func(rule rbacv1.PolicyRule) bool { return slices.Contains(rule.APIGroups, "snapshot.storage.k8s.io") })
		if (index >= 0) != c.want || allowed != c.want {
			t.Errorf("%s: runs: %t, is allowed to: %t; want %t", name, index >= 0, allowed, c.want)
		}
		if index < 0 {
			continue
		}
		snapshotter := containers[index]
		if snapshotter.Image != "registry.k8s.io/sig-storage/csi-snapshotter:v8.7.0" {
			t.Errorf("%s: the image is %s", name, snapshotter.Image)
		}
		expectArguments(t, snapshotter, "--csi-address=/csi/csi.sock", "--leader-election=true", "--timeout=60s")
		if security := snapshotter.SecurityContext; security == nil || security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem {
			t.Errorf("%s: security context is %+v", name, security)
		}
	}
}

// TestVolumeSnapshotClasses: a class is of the driver, and has no parameters; one of groups likewise.
func TestVolumeSnapshotClasses(t *testing.T) {
	for values, kind := range map[string]struct{ name, group string }{
		"volumeSnapshotClasses":      {"VolumeSnapshotClass", "snapshot"},
		"volumeGroupSnapshotClasses": {"VolumeGroupSnapshotClass", "groupsnapshot"},
	} {
		expectClasses(t, render(t, values+": [{name: keep, default: true, deletionPolicy: Retain}, {name: plain}]"), kind.name, kind.group)
	}
}

func expectClasses(t *testing.T, rendered objects, kind, group string) {
	t.Helper()
	for name, want := range map[string]struct{ policy, standard string }{"keep": {"Retain", "true"}, "plain": {"Delete", "false"}} {
		index := slices.IndexFunc(rendered.list, func(o *unstructured.Unstructured) bool {
			return o.GetKind() == kind && o.GetAPIVersion() == group+".storage.k8s.io/v1" && o.GetName() == name
		})
		if index < 0 {
			t.Fatalf("no %s %s", kind, name)
		}
		class := rendered.list[index]
		if class.Object["driver"] != "csi-dm.io" || class.Object["deletionPolicy"] != want.policy || class.Object["parameters"] != nil ||
			class.GetAnnotations()[group+".storage.kubernetes.io/is-default-class"] != want.standard {
			t.Errorf("%s: %v", name, class.Object)
		}
	}
}
