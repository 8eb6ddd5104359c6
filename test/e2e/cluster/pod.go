package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/test/lab/image"
)

// MountPath is where a pod has its claim.
const MountPath = "/data"

// DevicePath is where a pod has its claim's device.
const DevicePath = "/dev/data"

// SecondPath is where it has its second one.
const SecondPath = "/data2"

// idle is a shell that waits for nothing, and ends at once when it is asked to.
const idle = `trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done`

// Pod describes a pod with one volume, at MountPath.
type Pod struct {
	Namespace, Name string
	// Claim is the claim's name.
	Claim string
	// Second is the name of another claim, if not empty.
	Second string
	// Source, if not nil, is the volume in the claim's place.
	Source *corev1.VolumeSource
	// Script is run by the shell; the default waits.
	Script string
	// Node, if not empty, is the node that the scheduler must choose.
	Node string
	// Block gives the pod the claim's device, at DevicePath.
	Block bool
	// Change, if not nil, has the last word on the pod before it is created.
	Change func(*corev1.Pod)
	// PreferredNode, if not empty, is the node that the scheduler chooses if the pod fits there.
	PreferredNode string
}

// CreatePod creates the pod.
func (c *Cluster) CreatePod(ctx context.Context, pod Pod) (*corev1.Pod, error) {
	script := pod.Script
	if script == "" {
		script = idle
	}
	object := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		Spec: corev1.PodSpec{
			Affinity:                      pod.affinity(),
			TerminationGracePeriodSeconds: ptr.To[int64](2),
			EnableServiceLinks:            ptr.To(false),
			AutomountServiceAccountToken:  ptr.To(false),
			Containers: []corev1.Container{{
				Name: "main", Image: image.Busybox, ImagePullPolicy: corev1.PullNever,
				Command:      []string{"/bin/sh", "-c", script},
				VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: MountPath}},
			}},
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: pod.source()}},
		},
	}
	if pod.Second != "" {
		container := &object.Spec.Containers[0]
		container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: "second", MountPath: SecondPath})
		object.Spec.Volumes = append(object.Spec.Volumes, corev1.Volume{Name: "second", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: pod.Second},
		}})
	}
	if container := &object.Spec.Containers[0]; pod.Block {
		container.VolumeMounts = nil
		container.VolumeDevices = []corev1.VolumeDevice{{Name: "data", DevicePath: DevicePath}}
	}
	if pod.Change != nil {
		pod.Change(object)
	}
	if err := c.Create(ctx, object); err != nil {
		return nil, fmt.Errorf("create pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return object, nil
}

func (p Pod) source() corev1.VolumeSource {
	if p.Source != nil {
		return *p.Source
	}
	return corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: p.Claim}}
}

func (p Pod) affinity() *corev1.Affinity {
	term := func(node string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}},
		}}
	}
	switch {
	case p.Node != "":
		return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{term(p.Node)}},
		}}
	case p.PreferredNode != "":
		return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 100, Preference: term(p.PreferredNode)}},
		}}
	}
	return nil
}

// AwaitRunning waits until all containers of the pod are ready.
func (c *Cluster) AwaitRunning(ctx context.Context, limit time.Duration, pod *corev1.Pod) error {
	return c.AwaitObject(ctx, limit, pod, "running", func() string {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
				return ""
			}
		}
		return podState(pod)
	})
}

// AwaitUnschedulable waits until the scheduler says that no node takes the pod, and returns its reason.
func (c *Cluster) AwaitUnschedulable(ctx context.Context, limit time.Duration, pod *corev1.Pod) (string, error) {
	var message string
	err := c.AwaitObject(ctx, limit, pod, "unschedulable", func() string {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodScheduled && condition.Reason == corev1.PodReasonUnschedulable {
				message = condition.Message
				return ""
			}
		}
		return podState(pod)
	})
	return message, err
}

// DeletePod deletes the pod and waits until its node has given it up.
func (c *Cluster) DeletePod(ctx context.Context, limit time.Duration, pod *corev1.Pod) error {
	if err := client.IgnoreNotFound(c.Delete(ctx, pod)); err != nil {
		return err
	}
	return c.AwaitGone(ctx, limit, pod)
}

// Exec runs a command in the pod's container and returns its standard output.
func (c *Cluster) Exec(ctx context.Context, pod *corev1.Pod, argv ...string) (string, error) {
	return c.Kubectl(ctx, append([]string{"exec", "--namespace", pod.Namespace, pod.Name, "--"}, argv...)...)
}

// Shell runs a line of shell in the pod's container and returns its standard output without white space around it.
func (c *Cluster) Shell(ctx context.Context, pod *corev1.Pod, line string) (string, error) {
	output, err := c.Exec(ctx, pod, "/bin/sh", "-ec", line)
	return strings.TrimSpace(output), err
}

func podState(pod *corev1.Pod) string {
	state := fmt.Sprintf("phase %q on node %q", pod.Status.Phase, pod.Spec.NodeName)
	for _, condition := range pod.Status.Conditions {
		if condition.Status != corev1.ConditionTrue && condition.Message != "" {
			state += fmt.Sprintf("; %s: %s", condition.Type, condition.Message)
		}
	}
	for _, container := range pod.Status.ContainerStatuses {
		if waiting := container.State.Waiting; waiting != nil {
			state += fmt.Sprintf("; container %s: %s %s", container.Name, waiting.Reason, waiting.Message)
		}
	}
	return state
}
