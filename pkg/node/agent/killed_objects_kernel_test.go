//go:build kernel

package agent

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// killedObjects are the API server's when a step was acknowledged. What a step wrote there that was not is lost with its process: the
// next must make do with the older state, as after a status write that never arrived.
type killedObjects struct {
	Volumes   []v1alpha1.ThinVolume
	Snapshots []v1alpha1.ThinSnapshot
}

// startObjects makes an API server that holds the job's objects, and the pool's own.
func (p *killedProcess) startObjects(poolID string) error {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	objects := []client.Object{readyPool(func(pool *v1alpha1.NodeThinPool) { pool.Status.PoolID = poolID })}
	for i := range p.Objects.Volumes {
		objects = append(objects, &p.Objects.Volumes[i])
	}
	for i := range p.Objects.Snapshots {
		objects = append(objects, &p.Objects.Snapshots[i])
	}
	// The usual converters begin with reading the schema of all of Kubernetes, which takes longer than all else that a process does here.
	p.client = fake.NewClientBuilder().WithScheme(scheme).WithTypeConverters(managedfields.NewDeducedTypeConverter()).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.NodeThinPool{}, &v1alpha1.ThinVolume{}, &v1alpha1.ThinSnapshot{}).Build()
	return nil
}

func (p *killedProcess) objects(ctx context.Context) (killedObjects, error) {
	var volumes v1alpha1.ThinVolumeList
	var snapshots v1alpha1.ThinSnapshotList
	err := errors.Join(p.client.List(ctx, &volumes), p.client.List(ctx, &snapshots))
	return killedObjects{volumes.Items, snapshots.Items}, err
}

// makeVolume is what the controller and the agent do for a new claim.
func (p *killedProcess) makeVolume(ctx context.Context, name string, size int64, source *v1alpha1.VolumeSource) error {
	volume := &v1alpha1.ThinVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1, Finalizers: []string{v1alpha1.VolumeFinalizer}},
		Spec: v1alpha1.ThinVolumeSpec{
			NodeName: testNode, PoolName: "fast", Capacity: *resource.NewQuantity(size, resource.BinarySI), FSType: "ext4", Source: source,
		},
	}
	if err := p.client.Create(ctx, volume); err != nil {
		return err
	}
	if err := p.reconcile(ctx, p.volumes, volume); err != nil {
		return err
	}
	if volume.Status.ThinID == nil {
		return fmt.Errorf("the volume was not made: %+v", volume.Status)
	}
	return nil
}

// growVolume is what the controller and the agent do for a claim that asks for more.
func (p *killedProcess) growVolume(ctx context.Context, name string, size int64) error {
	volume := &v1alpha1.ThinVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := p.client.Get(ctx, client.ObjectKeyFromObject(volume), volume); err != nil {
		return err
	}
	volume.Spec.Capacity = *resource.NewQuantity(size, resource.BinarySI)
	if err := p.client.Update(ctx, volume); err != nil {
		return err
	}
	if err := p.reconcile(ctx, p.volumes, volume); err != nil {
		return err
	}
	if volume.Status.Size == nil || volume.Status.Size.Value() != size {
		return fmt.Errorf("the volume has not grown: %+v", volume.Status)
	}
	return nil
}

// takeSnapshot is what they do for a new snapshot.
func (p *killedProcess) takeSnapshot(ctx context.Context, name, volume string, size int64) error {
	snapshot := &v1alpha1.ThinSnapshot{
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1, Finalizers: []string{v1alpha1.VolumeFinalizer}},
		Spec: v1alpha1.ThinSnapshotSpec{
			NodeName: testNode, PoolName: "fast", VolumeName: volume, Capacity: *resource.NewQuantity(size, resource.BinarySI), FSType: "ext4",
		},
	}
	if err := p.client.Create(ctx, snapshot); err != nil {
		return err
	}
	if err := p.reconcile(ctx, p.snapshots, snapshot); err != nil {
		return err
	}
	if snapshot.Status.ThinID == nil || snapshot.Status.RestoreSize.Value() != size {
		return fmt.Errorf("the snapshot was not taken as it should be: %+v", snapshot.Status)
	}
	return nil
}

// remove has an object deleted, which must be gone then.
func (p *killedProcess) remove(ctx context.Context, by reconcile.Reconciler, object client.Object) error {
	if err := p.client.Delete(ctx, object); err != nil {
		return err
	}
	if err := p.reconcile(ctx, by, object); client.IgnoreNotFound(err) != nil || err == nil {
		return fmt.Errorf("the object %s is there still (%w)", object.GetName(), err)
	}
	return nil
}

// reconcile has the agent look at an object, and gives the object as it is then.
func (p *killedProcess) reconcile(ctx context.Context, by reconcile.Reconciler, object client.Object) error {
	key := client.ObjectKeyFromObject(object)
	if _, err := by.Reconcile(ctx, reconcile.Request{NamespacedName: key}); err != nil {
		return err
	}
	return p.client.Get(ctx, key, object)
}
