package cluster

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// snapshotGroup is the API group of the cluster's snapshots, which the product's module does not import.
const snapshotGroup = "snapshot.storage.k8s.io"

func snapshotObject(kind, namespace, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(snapshotGroup + "/v1")
	object.SetKind(kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

// EnsureSnapshotClass makes a VolumeSnapshotClass of the driver, with parameters of those names.
func (c *Cluster) EnsureSnapshotClass(ctx context.Context, name string, parameters ...string) error {
	class := snapshotObject("VolumeSnapshotClass", "", name)
	class.Object["driver"], class.Object["deletionPolicy"] = v1alpha1.DriverName, "Delete"
	for _, key := range parameters {
		if err := unstructured.SetNestedField(class.Object, "any", "parameters", key); err != nil {
			return err
		}
	}
	err := c.Create(ctx, class)
	if client.IgnoreAlreadyExists(err) != nil {
		return fmt.Errorf("create VolumeSnapshotClass %s: %w", name, err)
	}
	return nil
}

// DeleteSnapshotClass deletes a class that may be gone already.
func (c *Cluster) DeleteSnapshotClass(ctx context.Context, name string) error {
	return client.IgnoreNotFound(c.Delete(ctx, snapshotObject("VolumeSnapshotClass", "", name)))
}

// CreateSnapshot asks for a snapshot of a claim.
func (c *Cluster) CreateSnapshot(ctx context.Context, namespace, name, class, claim string) (*unstructured.Unstructured, error) {
	snapshot := snapshotObject("VolumeSnapshot", namespace, name)
	snapshot.Object["spec"] = map[string]any{
		"volumeSnapshotClassName": class, "source": map[string]any{"persistentVolumeClaimName": claim},
	}
	if err := c.Create(ctx, snapshot); err != nil {
		return nil, fmt.Errorf("create VolumeSnapshot %s/%s: %w", namespace, name, err)
	}
	return snapshot, nil
}

// AwaitSnapshot waits until a VolumeSnapshot is ready and returns the driver's object.
func (c *Cluster) AwaitSnapshot(ctx context.Context, limit time.Duration, snapshot *unstructured.Unstructured) (*v1alpha1.ThinSnapshot, error) {
	err := c.AwaitObject(ctx, limit, snapshot, "ready", func() string {
		ready, _, _ := unstructured.NestedBool(snapshot.Object, "status", "readyToUse")
		if !ready {
			return fmt.Sprintf("its status is %v", snapshot.Object["status"])
		}
		return ""
	})
	if err != nil {
		return nil, err
	}
	name, _, err := unstructured.NestedString(snapshot.Object, "status", "boundVolumeSnapshotContentName")
	if err != nil {
		return nil, err
	}
	content := snapshotObject("VolumeSnapshotContent", "", name)
	if err := c.Get(ctx, client.ObjectKeyFromObject(content), content); err != nil {
		return nil, err
	}
	handle, _, err := unstructured.NestedString(content.Object, "status", "snapshotHandle")
	if err != nil {
		return nil, err
	}
	thin := &v1alpha1.ThinSnapshot{}
	return thin, c.Get(ctx, client.ObjectKey{Name: handle}, thin)
}

// NamespaceSnapshots are the ThinSnapshots of claims of a namespace.
func (c *Cluster) NamespaceSnapshots(ctx context.Context, namespace string) ([]v1alpha1.ThinSnapshot, error) {
	var snapshots v1alpha1.ThinSnapshotList
	if err := c.List(ctx, &snapshots); err != nil {
		return nil, err
	}
	var found []v1alpha1.ThinSnapshot
	for _, snapshot := range snapshots.Items {
		if snapshot.Spec.Claim != nil && snapshot.Spec.Claim.Namespace == namespace {
			found = append(found, snapshot)
		}
	}
	return found, nil
}

// deleteSnapshots deletes the VolumeSnapshots and VolumeGroupSnapshots of a namespace, in a cluster that knows them.
func (c *Cluster) deleteSnapshots(ctx context.Context, namespace string) error {
	for _, object := range []client.Object{groupObject("VolumeGroupSnapshot", "", ""), snapshotObject("VolumeSnapshot", "", "")} {
		if err := c.DeleteAllOf(ctx, object, client.InNamespace(namespace)); err != nil && !meta.IsNoMatchError(err) {
			return err
		}
	}
	return nil
}
