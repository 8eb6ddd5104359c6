package view

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// Node finds a node by its value under the driver's topology key. ok is false when there is none.
func (v *View) Node(ctx context.Context, topologyValue string) (name string, ok bool, err error) {
	var list corev1.NodeList
	if err := v.reader.List(ctx, &list, client.MatchingFields{indexTopology: topologyValue}, readOnly); err != nil {
		return "", false, err
	}
	if len(list.Items) == 0 {
		return "", false, nil
	}
	// Two values are the same only if a node bears the hash of another's name: the one whose own name it is goes first.
	for _, node := range list.Items {
		if node.Name == topologyValue {
			return node.Name, true, nil
		}
	}
	return list.Items[0].Name, true, nil
}

// Unavailable tells what keeps a node from making volumes: that it does not exist, is not ready, or that its agent is not.
// It is empty for a node that can.
func (v *View) Unavailable(ctx context.Context, nodeName string) (string, error) {
	var node corev1.Node
	if err := v.reader.Get(ctx, client.ObjectKey{Name: nodeName}, &node); apierrors.IsNotFound(err) {
		return fmt.Sprintf("node %q does not exist", nodeName), nil
	} else if err != nil {
		return "", err
	}
	if !nodeReady(&node) {
		return fmt.Sprintf("node %q is not ready", nodeName), nil
	}
	pods, err := v.agents(ctx, nodeName)
	if err != nil {
		return "", err
	}
	for i := range pods {
		if podReady(&pods[i]) {
			return "", nil
		}
	}
	return fmt.Sprintf("the agent on node %q is not ready", nodeName), nil
}

// HasAgent tells whether there is a pod of the agent on a node, in whatever state.
func (v *View) HasAgent(ctx context.Context, nodeName string) (bool, error) {
	pods, err := v.agents(ctx, nodeName)
	return len(pods) > 0, err
}

func (v *View) agents(ctx context.Context, nodeName string) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := v.reader.List(ctx, &pods, client.MatchingFields{indexNodeName: nodeName}, readOnly)
	return pods.Items, err
}

// RunsDriver tells whether kubelet knows the driver on a node.
func (v *View) RunsDriver(ctx context.Context, nodeName string) (bool, error) {
	var node storagev1.CSINode
	if err := v.reader.Get(ctx, client.ObjectKey{Name: nodeName}, &node, readOnly); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	for _, driver := range node.Spec.Drivers {
		if driver.Name == v1alpha1.DriverName {
			return true, nil
		}
	}
	return false, nil
}

func nodeReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue && node.DeletionTimestamp == nil
		}
	}
	return false
}

func podReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}
