//go:build chart

package chart

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
)

// TestAgent: one privileged container without sidecars, that no second one ever runs beside, and whose private mounts stay private.
func TestAgent(t *testing.T) {
	var set appsv1.DaemonSet
	render(t, "").get("DaemonSet", "release-node", &set)
	update := set.Spec.UpdateStrategy.RollingUpdate
	if update == nil || update.MaxSurge == nil || update.MaxSurge.IntValue() != 0 || update.MaxSurge.String() != "0" {
		t.Errorf("update strategy is %+v, want that no agent is ever surged", set.Spec.UpdateStrategy)
	}
	pod := set.Spec.Template.Spec
	if pod.PriorityClassName != "system-node-critical" {
		t.Errorf("priority class is %q", pod.PriorityClassName)
	}
	if pod.HostNetwork || pod.HostPID || pod.HostIPC {
		t.Error("the agent is in a namespace of the host")
	}
	if len(pod.Containers) != 1 || len(pod.InitContainers) != 0 {
		t.Fatalf("%d containers and %d init containers, want one and none", len(pod.Containers), len(pod.InitContainers))
	}
	agent := pod.Containers[0]
	if security := agent.SecurityContext; security.Privileged == nil || !*security.Privileged || security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem {
		t.Errorf("security context is %+v", security)
	}
	hostPaths := map[string]string{}
	for _, volume := range pod.Volumes {
		if volume.HostPath != nil {
			hostPaths[volume.Name] = volume.HostPath.Path
		}
	}
	want := map[string]corev1.MountPropagationMode{
		"/var/lib/kubelet": corev1.MountPropagationBidirectional, "/dev": "", "/sys": "",
		"/var/lib/csi-dm": "", "/var/lib/csi-dm/loopback": "", "/run/csi-dm": corev1.MountPropagationNone,
	}
	for _, mount := range agent.VolumeMounts {
		path, ok := hostPaths[mount.Name]
		if !ok {
			continue
		}
		if path != mount.MountPath {
			t.Errorf("the host's %s is mounted on %s: paths that kubelet hands over would not match", path, mount.MountPath)
		}
		propagation := corev1.MountPropagationMode("")
		if mount.MountPropagation != nil {
			propagation = *mount.MountPropagation
		}
		if expected, ok := want[path]; !ok || propagation != expected {
			t.Errorf("%s is mounted with propagation %q", path, propagation)
		}
		delete(want, path)
	}
	if len(want) > 0 {
		t.Errorf("not mounted: %v", want)
	}
	expectArguments(t, agent, "node", "--node-id=$(NODE_NAME)", "--endpoint=unix:///var/lib/kubelet/plugins/csi-dm.io/csi.sock",
		"--kubelet-dir=/var/lib/kubelet", "--run-dir=/run/csi-dm")
}

// TestController: no container that may do anything to its node; the sidecars with the flags that the driver relies on.
func TestController(t *testing.T) {
	var deployment appsv1.Deployment
	rendered := render(t, "")
	rendered.get("Deployment", "release-controller", &deployment)
	pod := deployment.Spec.Template.Spec
	if security := pod.SecurityContext; security.RunAsNonRoot == nil || !*security.RunAsNonRoot || security.SeccompProfile == nil || security.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("pod security context is %+v", security)
	}
	byName := map[string]corev1.Container{}
	for _, container := range pod.Containers {
		byName[container.Name] = container
		security := container.SecurityContext
		if security == nil || security.AllowPrivilegeEscalation == nil || *security.AllowPrivilegeEscalation ||
			security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem ||
			security.Capabilities == nil || !slices.Equal(security.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s: security context is %+v", container.Name, security)
		}
	}
	for _, volume := range pod.Volumes {
		if volume.HostPath != nil {
			t.Errorf("volume %s is a path of the host", volume.Name)
		}
	}
	var set appsv1.DaemonSet
	rendered.get("DaemonSet", "release-node", &set)
	expectArguments(t, byName["csi-dm"], "controller", "--leader-election=true")
	for _, argument := range byName["csi-dm"].Args {
		selector, ok := strings.CutPrefix(argument, "--agent-selector=")
		if !ok {
			continue
		}
		for _, requirement := range strings.Split(selector, ",") {
			key, value, _ := strings.Cut(requirement, "=")
			if set.Spec.Template.Labels[key] != value {
				t.Errorf("the controller looks for agents with %s, theirs is %q", requirement, set.Spec.Template.Labels[key])
			}
		}
	}
	provisioner := byName["csi-provisioner"]
	if provisioner.Image != "registry.k8s.io/sig-storage/csi-provisioner:v6.3.0" {
		t.Errorf("csi-provisioner's image is %s", provisioner.Image)
	}
	expectArguments(t, provisioner, "--strict-topology=false", "--immediate-topology=false", "--extra-create-metadata=true",
		"--leader-election=true", "--timeout=60s", "--csi-address=/csi/csi.sock")
	resizer := byName["csi-resizer"]
	if resizer.Image != "registry.k8s.io/sig-storage/csi-resizer:v2.3.0" {
		t.Errorf("csi-resizer's image is %s", resizer.Image)
	}
	expectArguments(t, resizer, "--leader-election=true", "--handle-volume-inuse-error=false", "--timeout=60s", "--csi-address=/csi/csi.sock")
	for _, argument := range provisioner.Args {
		if strings.Contains(argument, "enable-capacity") || strings.Contains(argument, "node-deployment") {
			t.Errorf("csi-provisioner runs with %s", argument)
		}
	}
	var budget policyv1.PodDisruptionBudget
	rendered.get("PodDisruptionBudget", "release-controller", &budget)
	if render(t, "controller: {replicas: 1}").has("PodDisruptionBudget", "release-controller") {
		t.Error("a budget for one replica would block every drain")
	}
}

// TestSelectors: the labels that select pods are on the pods, and nothing in them changes with a version of the chart.
func TestSelectors(t *testing.T) {
	rendered := render(t, "")
	var deployment appsv1.Deployment
	var set appsv1.DaemonSet
	rendered.get("Deployment", "release-controller", &deployment)
	rendered.get("DaemonSet", "release-node", &set)
	for name, workload := range map[string]struct{ selector, labels map[string]string }{
		"controller": {deployment.Spec.Selector.MatchLabels, deployment.Spec.Template.Labels},
		"node":       {set.Spec.Selector.MatchLabels, set.Spec.Template.Labels},
	} {
		want := map[string]string{"app.kubernetes.io/name": "csi-dm", "app.kubernetes.io/instance": "release", "app.kubernetes.io/component": name}
		if len(workload.selector) != len(want) {
			t.Errorf("%s: selector is %v", name, workload.selector)
		}
		for key, value := range want {
			if workload.selector[key] != value || workload.labels[key] != value {
				t.Errorf("%s: label %s is selected by %q and is %q", name, key, workload.selector[key], workload.labels[key])
			}
		}
	}
}

// TestImages: a digest goes before a tag, a tag before the chart's version.
func TestImages(t *testing.T) {
	for values, want := range map[string]string{
		"node: {image: {repository: r/n}}":                                    "r/n:0.1.0",
		"node: {image: {repository: r/n, tag: v2}}":                           "r/n:v2",
		"node: {image: {repository: r/n, tag: v2, digest: '" + digest + "'}}": "r/n@" + digest,
	} {
		var set appsv1.DaemonSet
		render(t, values).get("DaemonSet", "release-node", &set)
		if got := set.Spec.Template.Spec.Containers[0].Image; got != want {
			t.Errorf("%s: image is %s, want %s", values, got, want)
		}
	}
}

func expectArguments(t *testing.T, container corev1.Container, arguments ...string) {
	t.Helper()
	for _, argument := range arguments {
		if !slices.Contains(container.Args, argument) {
			t.Errorf("%s: argument %s is missing in %q", container.Name, argument, container.Args)
		}
	}
}
