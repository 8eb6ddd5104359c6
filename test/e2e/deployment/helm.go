package deployment

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

// rolloutPatience is how long the driver's pods may take to be replaced on both nodes.
const rolloutPatience = 6 * time.Minute

// InlineSizeLimit is the largest inline ephemeral volume in the lab.
const InlineSizeLimit = "512Mi"

// TrimInterval is how often the lab's agents trim.
const TrimInterval = time.Minute

// Install runs helm upgrade --install with the images of the work tree and further values of the form NAME=VALUE.
func (d *Deployment) Install(ctx context.Context, values ...string) error {
	arguments := []string{
		"upgrade", Release, d.Chart(), "--install", "--namespace", Namespace, "--create-namespace", "--history-max", "3",
		"--set", "controller.image.repository=" + d.images.Controller.Repository,
		"--set-string", "controller.image.tag=" + d.images.Controller.Tag,
		"--set", "controller.image.pullPolicy=Never",
		"--set", "node.image.repository=" + d.images.Node.Repository,
		"--set-string", "node.image.tag=" + d.images.Node.Tag,
		"--set", "node.image.pullPolicy=Never",
		"--set", "node.inlineEphemeralVolumes.enabled=true", "--set", "node.inlineEphemeralVolumes.sizeLimit=" + InlineSizeLimit,
		"--set", "node.trimInterval=" + TrimInterval.String(),
	}
	for _, value := range values {
		arguments = append(arguments, "--set", value)
	}
	_, err := d.cluster.Tool(ctx, "helm", arguments...)
	return err
}

// Uninstall runs helm uninstall and returns when the driver's pods are gone.
func (d *Deployment) Uninstall(ctx context.Context) error {
	if _, err := d.cluster.Tool(ctx, "helm", "uninstall", Release, "--namespace", Namespace, "--wait", "--timeout", "5m"); err != nil {
		return err
	}
	// helm waits for the objects it made; the pods of a DaemonSet end after it.
	return cluster.Await(ctx, rolloutPatience, "the driver's pods to be gone", func(ctx context.Context) (string, error) {
		var pods corev1.PodList
		if err := d.cluster.List(ctx, &pods, client.InNamespace(Namespace)); err != nil {
			return err.Error(), nil
		}
		if len(pods.Items) > 0 {
			return fmt.Sprintf("%d are there", len(pods.Items)), nil
		}
		return "", nil
	})
}

// AwaitRollout waits until every pod of the driver is of the newest kind and ready.
func (d *Deployment) AwaitRollout(ctx context.Context) error {
	return cluster.Await(ctx, rolloutPatience, "the driver's pods to be replaced and ready", func(ctx context.Context) (string, error) {
		var nodes appsv1.DaemonSetList
		var controllers appsv1.DeploymentList
		if err := d.cluster.List(ctx, &nodes, client.InNamespace(Namespace)); err != nil {
			return err.Error(), nil
		}
		if err := d.cluster.List(ctx, &controllers, client.InNamespace(Namespace)); err != nil {
			return err.Error(), nil
		}
		if len(nodes.Items) == 0 || len(controllers.Items) == 0 {
			return "", fmt.Errorf("the chart made %d DaemonSets and %d Deployments", len(nodes.Items), len(controllers.Items))
		}
		for _, set := range nodes.Items {
			if missing := daemonSetMissing(set); missing != "" {
				return missing, nil
			}
		}
		for _, deployment := range controllers.Items {
			if missing := deploymentMissing(deployment); missing != "" {
				return missing, nil
			}
		}
		return "", nil
	})
}

func daemonSetMissing(set appsv1.DaemonSet) string {
	status := set.Status
	if status.ObservedGeneration != set.Generation || status.DesiredNumberScheduled == 0 ||
		status.UpdatedNumberScheduled != status.DesiredNumberScheduled || status.NumberReady != status.DesiredNumberScheduled {
		return fmt.Sprintf("DaemonSet %s: %d of %d pods are new, %d ready",
			set.Name, status.UpdatedNumberScheduled, status.DesiredNumberScheduled, status.NumberReady)
	}
	return ""
}

func deploymentMissing(deployment appsv1.Deployment) string {
	status := deployment.Status
	if status.ObservedGeneration != deployment.Generation || deployment.Spec.Replicas == nil ||
		status.UpdatedReplicas != *deployment.Spec.Replicas || status.Replicas != *deployment.Spec.Replicas ||
		status.AvailableReplicas != *deployment.Spec.Replicas {
		return fmt.Sprintf("Deployment %s: %d of %d pods are new, %d available", deployment.Name, status.UpdatedReplicas, status.Replicas, status.AvailableReplicas)
	}
	return ""
}
