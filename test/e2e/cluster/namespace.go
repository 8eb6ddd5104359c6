package cluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// EmptyNamespace deletes pods, snapshots and claims of a namespace, waits until their volumes are gone, and deletes the namespace.
func (c *Cluster) EmptyNamespace(ctx context.Context, name string) error {
	in := client.InNamespace(name)
	if err := c.DeleteAllOf(ctx, &corev1.Pod{}, in); err != nil {
		return err
	}
	if err := c.deleteSnapshots(ctx, name); err != nil {
		return err
	}
	if err := c.DeleteAllOf(ctx, &corev1.PersistentVolumeClaim{}, in); err != nil {
		return err
	}
	what := "pods, PersistentVolumes, ThinVolumes and ThinSnapshots of namespace " + name + " to be gone"
	err := Await(ctx, 4*time.Minute, what, func(ctx context.Context) (string, error) {
		left, err := c.remains(ctx, name)
		if err != nil {
			return err.Error(), nil
		}
		return left, nil
	})
	if err != nil {
		return err
	}
	return client.IgnoreNotFound(c.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
}

func (c *Cluster) remains(ctx context.Context, namespace string) (string, error) {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
		return "", err
	}
	volumes, err := c.NamespaceVolumes(ctx, namespace)
	if err != nil {
		return "", err
	}
	var persistent corev1.PersistentVolumeList
	if err := c.List(ctx, &persistent); err != nil {
		return "", err
	}
	count := 0
	for _, volume := range persistent.Items {
		if volume.Spec.ClaimRef != nil && volume.Spec.ClaimRef.Namespace == namespace {
			count++
		}
	}
	snapshots, err := c.NamespaceSnapshots(ctx, namespace)
	if err != nil {
		return "", err
	}
	if len(pods.Items)+len(volumes)+len(snapshots)+count == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d pods, %d PersistentVolumes, %d ThinVolumes and %d ThinSnapshots are left", len(pods.Items), count, len(volumes), len(snapshots)), nil
}
