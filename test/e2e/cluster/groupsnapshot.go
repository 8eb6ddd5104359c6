package cluster

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

func groupObject(kind, namespace, name string) *unstructured.Unstructured {
	object := snapshotObject(kind, namespace, name)
	object.SetAPIVersion("group" + snapshotGroup + "/v1")
	return object
}

// EnsureGroupSnapshotClass makes a VolumeGroupSnapshotClass of the driver.
func (c *Cluster) EnsureGroupSnapshotClass(ctx context.Context, name string) error {
	class := groupObject("VolumeGroupSnapshotClass", "", name)
	class.Object["driver"], class.Object["deletionPolicy"] = v1alpha1.DriverName, "Delete"
	if err := client.IgnoreAlreadyExists(c.Create(ctx, class)); err != nil {
		return fmt.Errorf("create VolumeGroupSnapshotClass %s: %w", name, err)
	}
	return nil
}

// CreateGroupSnapshot asks for a snapshot of all claims with those labels.
func (c *Cluster) CreateGroupSnapshot(ctx context.Context, namespace, name, class string, labels map[string]string) (*unstructured.Unstructured, error) {
	group := groupObject("VolumeGroupSnapshot", namespace, name)
	matched := map[string]any{}
	for key, value := range labels {
		matched[key] = value
	}
	group.Object["spec"] = map[string]any{
		"volumeGroupSnapshotClassName": class, "source": map[string]any{"selector": map[string]any{"matchLabels": matched}},
	}
	if err := c.Create(ctx, group); err != nil {
		return nil, fmt.Errorf("create VolumeGroupSnapshot %s/%s: %w", namespace, name, err)
	}
	return group, nil
}

// AwaitGroupSnapshot waits until a VolumeGroupSnapshot and all of its snapshots are ready. It returns the driver's object, and the
// names of the VolumeSnapshots by the claims that they are of.
func (c *Cluster) AwaitGroupSnapshot(
	ctx context.Context, limit time.Duration, group *unstructured.Unstructured,
) (thin *v1alpha1.ThinGroupSnapshot, snapshots map[string]string, err error) {
	err = c.AwaitObject(ctx, limit, group, "ready", func() string {
		if ready, _, _ := unstructured.NestedBool(group.Object, "status", "readyToUse"); !ready {
			return fmt.Sprintf("its status is %v", group.Object["status"])
		}
		return ""
	})
	if err != nil {
		return nil, nil, err
	}
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion(snapshotGroup + "/v1")
	list.SetKind("VolumeSnapshotList")
	if err := c.List(ctx, list, client.InNamespace(group.GetNamespace())); err != nil {
		return nil, nil, err
	}
	thin, snapshots = &v1alpha1.ThinGroupSnapshot{}, map[string]string{}
	for i := range list.Items {
		snapshot, err := c.AwaitSnapshot(ctx, limit, &list.Items[i])
		if err != nil {
			return nil, nil, err
		}
		if snapshot.Spec.GroupName == "" {
			continue
		}
		snapshots[snapshot.Spec.Claim.Name] = list.Items[i].GetName()
		if err := c.Get(ctx, client.ObjectKey{Name: snapshot.Spec.GroupName}, thin); err != nil {
			return nil, nil, err
		}
	}
	return thin, snapshots, nil
}
