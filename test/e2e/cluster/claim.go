package cluster

import (
	"cmp"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// selectedNode is the annotation with which the scheduler tells the provisioner where a claim's pod will run.
const selectedNode = "volume.kubernetes.io/selected-node"

// Class describes a StorageClass of the driver.
type Class struct {
	Name       string
	Parameters map[string]string
	// MountOptions are those of the class's volumes.
	MountOptions []string
	// Immediate asks for a volume before there is a pod; the default waits for the first consumer.
	Immediate bool
}

// EnsureClass makes the class, whose volumes can grow, or replaces one of that name that differs: a class cannot be changed.
func (c *Cluster) EnsureClass(ctx context.Context, class Class) error {
	mode := storagev1.VolumeBindingWaitForFirstConsumer
	if class.Immediate {
		mode = storagev1.VolumeBindingImmediate
	}
	object := &storagev1.StorageClass{
		ObjectMeta:           metav1.ObjectMeta{Name: class.Name},
		Provisioner:          v1alpha1.DriverName,
		Parameters:           class.Parameters,
		MountOptions:         class.MountOptions,
		VolumeBindingMode:    &mode,
		ReclaimPolicy:        ptr.To(corev1.PersistentVolumeReclaimDelete),
		AllowVolumeExpansion: ptr.To(true),
	}
	err := c.Create(ctx, object.DeepCopy())
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := c.DeleteClass(ctx, class.Name); err != nil {
		return err
	}
	return c.Create(ctx, object)
}

// DeleteClass deletes a class that may be gone already.
func (c *Cluster) DeleteClass(ctx context.Context, name string) error {
	return client.IgnoreNotFound(c.Delete(ctx, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}}))
}

// Claim describes a PersistentVolumeClaim.
type Claim struct {
	Namespace, Name, Class string
	// Size in bytes.
	Size int64
	// Block asks for the device itself.
	Block bool
	// AccessMode is ReadWriteOnce if empty.
	AccessMode corev1.PersistentVolumeAccessMode
	// Node, if not empty, is chosen in the scheduler's place, so that the volume is made without a pod.
	Node string
	// Snapshot and Clone, of which one may be set, name the VolumeSnapshot that the volume is restored from and the claim that it
	// is a clone of.
	Snapshot, Clone string
}

// source is what the claim's volume is made from; nil for a new one.
func (c Claim) source() *corev1.TypedLocalObjectReference {
	switch {
	case c.Snapshot != "":
		return &corev1.TypedLocalObjectReference{APIGroup: ptr.To(snapshotGroup), Kind: "VolumeSnapshot", Name: c.Snapshot}
	case c.Clone != "":
		return &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: c.Clone}
	}
	return nil
}

// CreateClaim creates the claim.
func (c *Cluster) CreateClaim(ctx context.Context, claim Claim) (*corev1.PersistentVolumeClaim, error) {
	object := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: claim.Namespace, Name: claim.Name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{cmp.Or(claim.AccessMode, corev1.ReadWriteOnce)},
			StorageClassName: &claim.Class,
			DataSource:       claim.source(),
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(claim.Size, resource.BinarySI)},
			},
		},
	}
	if claim.Block {
		object.Spec.VolumeMode = ptr.To(corev1.PersistentVolumeBlock)
	}
	if claim.Node != "" {
		object.Annotations = map[string]string{selectedNode: claim.Node}
	}
	if err := c.Create(ctx, object); err != nil {
		return nil, fmt.Errorf("create claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return object, nil
}

// AwaitBound waits until the claim is bound and returns its volume's handle, which is the ThinVolume's name.
func (c *Cluster) AwaitBound(ctx context.Context, limit time.Duration, claim *corev1.PersistentVolumeClaim) (string, error) {
	err := c.AwaitObject(ctx, limit, claim, "bound", func() string {
		if claim.Status.Phase != corev1.ClaimBound {
			return fmt.Sprintf("its phase is %q", claim.Status.Phase)
		}
		return ""
	})
	if err != nil {
		return "", err
	}
	volume := &corev1.PersistentVolume{}
	if err := c.Get(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, volume); err != nil {
		return "", err
	}
	if volume.Spec.CSI == nil || volume.Spec.CSI.Driver != v1alpha1.DriverName {
		return "", fmt.Errorf("PersistentVolume %s is not of driver %s", volume.Name, v1alpha1.DriverName)
	}
	return volume.Spec.CSI.VolumeHandle, nil
}

// ClaimVolumes are the ThinVolumes made for a claim. There must never be more than one that is not being deleted.
func (c *Cluster) ClaimVolumes(ctx context.Context, namespace, name string) ([]v1alpha1.ThinVolume, error) {
	volumes, err := c.NamespaceVolumes(ctx, namespace)
	if err != nil {
		return nil, err
	}
	var found []v1alpha1.ThinVolume
	for _, volume := range volumes {
		if volume.Spec.Claim.Name == name {
			found = append(found, volume)
		}
	}
	return found, nil
}

// NamespaceVolumes are the ThinVolumes made for claims of a namespace.
func (c *Cluster) NamespaceVolumes(ctx context.Context, namespace string) ([]v1alpha1.ThinVolume, error) {
	var volumes v1alpha1.ThinVolumeList
	if err := c.List(ctx, &volumes); err != nil {
		return nil, err
	}
	var found []v1alpha1.ThinVolume
	for _, volume := range volumes.Items {
		if volume.Spec.Claim != nil && volume.Spec.Claim.Namespace == namespace {
			found = append(found, volume)
		}
	}
	return found, nil
}
