package capacity

import (
	"context"
	"errors"
	"fmt"
	"maps"

	storagev1 "k8s.io/api/storage/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// Publisher brings capacity objects to what they must be. It is safe for concurrent use, also by several processes.
type Publisher struct {
	// Client reads from the caches.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	View *view.View
	// Namespace of the objects.
	Namespace string
}

// Publish brings the object of a class on a node to what the caches say. A conflict with another writer is an error that
// apierrors.IsConflict tells: the caches are behind, and will catch up.
func (p *Publisher) Publish(ctx context.Context, class, node string) error {
	var part *v1alpha1.NodeThinPool
	pool, ok, err := p.poolOfClass(ctx, class)
	if err != nil {
		return err
	}
	if ok {
		if part, err = p.part(ctx, p.Client, pool, node); err != nil {
			return err
		}
	}
	return p.publish(ctx, p.Client, class, node, part)
}

// PublishPool brings the objects of all classes of a pool on a node to what the API server says now of the pool: its node
// may just have reported what the caches do not show yet.
func (p *Publisher) PublishPool(ctx context.Context, pool, node string) error {
	classes, err := p.View.Classes(ctx, pool)
	if err != nil {
		return err
	}
	part, err := p.part(ctx, p.Live, pool, node)
	if err != nil {
		return err
	}
	var failed []error
	for _, class := range classes {
		failed = append(failed, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
			return p.publish(ctx, p.Live, class, node, part)
		}))
	}
	return errors.Join(failed...)
}

func (p *Publisher) poolOfClass(ctx context.Context, name string) (pool string, ok bool, err error) {
	var class storagev1.StorageClass
	if err := p.Client.Get(ctx, client.ObjectKey{Name: name}, &class, client.UnsafeDisableDeepCopy); err != nil {
		return "", false, client.IgnoreNotFound(err)
	}
	pool, ok = view.PoolOfClass(&class)
	return pool, ok, nil
}

// part is nil if the node has no part of the pool.
func (p *Publisher) part(ctx context.Context, reader client.Reader, pool, node string) (*v1alpha1.NodeThinPool, error) {
	part := new(v1alpha1.NodeThinPool)
	if err := reader.Get(ctx, client.ObjectKey{Name: v1alpha1.NodeThinPoolName(pool, node)}, part); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return part, nil
}

// publish compares the object that reader shows with the one that part asks for, and writes where they differ. Without a
// part there is to be no object.
func (p *Publisher) publish(ctx context.Context, reader client.Reader, class, node string, part *v1alpha1.NodeThinPool) error {
	var present storagev1.CSIStorageCapacity
	err := reader.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: ObjectName(class, node)}, &present)
	exists := err == nil
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if part == nil {
		if !exists {
			return nil
		}
		return remove(ctx, p.Client, &present)
	}
	assessment, err := p.View.Assess(ctx, part, nil)
	if err != nil {
		return err
	}
	wanted := object(p.Namespace, class, part, assessment.Room())
	switch {
	case !exists:
		err := p.Client.Create(ctx, wanted)
		if apierrors.IsAlreadyExists(err) {
			// Made a moment ago, by this process or another: the next look compares.
			return apierrors.NewConflict(storagev1.Resource("csistoragecapacities"), wanted.Name, err)
		}
		return err
	case same(&present, wanted):
		return nil
	case present.StorageClassName != wanted.StorageClassName || !apiequality.Semantic.DeepEqual(present.NodeTopology, wanted.NodeTopology):
		// These two fields are immutable; under this name they can only be wrong if somebody else wrote them.
		return errors.Join(remove(ctx, p.Client, &present),
			apierrors.NewConflict(storagev1.Resource("csistoragecapacities"), wanted.Name, errors.New("object of another class or node")))
	}
	present.Labels, present.OwnerReferences = wanted.Labels, wanted.OwnerReferences
	present.Capacity, present.MaximumVolumeSize = wanted.Capacity, wanted.MaximumVolumeSize
	if err := p.Client.Update(ctx, &present); err != nil {
		return fmt.Errorf("publish capacity of StorageClass %q on node %q: %w", class, node, err)
	}
	return nil
}

func same(present, wanted *storagev1.CSIStorageCapacity) bool {
	return present.StorageClassName == wanted.StorageClassName &&
		apiequality.Semantic.DeepEqual(present.NodeTopology, wanted.NodeTopology) &&
		apiequality.Semantic.DeepEqual(present.Capacity, wanted.Capacity) &&
		apiequality.Semantic.DeepEqual(present.MaximumVolumeSize, wanted.MaximumVolumeSize) &&
		maps.Equal(present.Labels, wanted.Labels) &&
		apiequality.Semantic.DeepEqual(present.OwnerReferences, wanted.OwnerReferences)
}

// remove deletes exactly this object, not one that took its name meanwhile.
func remove(ctx context.Context, writer client.Writer, object *storagev1.CSIStorageCapacity) error {
	uid := object.UID
	return client.IgnoreNotFound(writer.Delete(ctx, object, client.Preconditions{UID: &uid}))
}
