package capacity

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// queue is what the tracker works on.
type queue = workqueue.TypedRateLimitingInterface[Key]

// gather queues the objects that a change touches, once for all changes within the window. An object that is waiting is not
// postponed by a further change.
func (t *Tracker) gather(touched func(context.Context, client.Object) ([]Key, error)) handler.TypedEventHandler[client.Object, Key] {
	add := func(ctx context.Context, object client.Object, q queue) {
		keys, err := touched(ctx, object)
		if err != nil {
			// The caches are local: this is a programming error, an index that is missing.
			klog.FromContext(ctx).Error(err, "Cannot tell which capacity objects a change touches", "object", klog.KObj(object))
		}
		for _, key := range keys {
			q.AddAfter(key, window)
		}
	}
	return handler.TypedFuncs[client.Object, Key]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[client.Object], q queue) { add(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[client.Object], q queue) {
			add(ctx, e.ObjectNew, q)
			if class, ok := e.ObjectOld.(*storagev1.StorageClass); ok {
				add(ctx, class, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[client.Object], q queue) { add(ctx, e.Object, q) },
	}
}

func (t *Tracker) ofPart(ctx context.Context, object client.Object) ([]Key, error) {
	part := object.(*v1alpha1.NodeThinPool)
	return t.onNode(ctx, part.Spec.PoolName, part.Spec.NodeName)
}

func (t *Tracker) ofVolume(ctx context.Context, object client.Object) ([]Key, error) {
	volume := object.(*v1alpha1.ThinVolume)
	return t.onNode(ctx, volume.Spec.PoolName, volume.Spec.NodeName)
}

func (t *Tracker) ofSnapshot(ctx context.Context, object client.Object) ([]Key, error) {
	snapshot := object.(*v1alpha1.ThinSnapshot)
	return t.onNode(ctx, snapshot.Spec.PoolName, snapshot.Spec.NodeName)
}

func (t *Tracker) ofGroup(ctx context.Context, object client.Object) ([]Key, error) {
	group := object.(*v1alpha1.ThinGroupSnapshot)
	return t.onNode(ctx, group.Spec.PoolName, group.Spec.NodeName)
}

func (t *Tracker) onNode(ctx context.Context, pool, node string) ([]Key, error) {
	classes, err := t.view.Classes(ctx, pool)
	keys := make([]Key, 0, len(classes))
	for _, class := range classes {
		keys = append(keys, Key{Class: class, Node: node})
	}
	return keys, err
}

func (t *Tracker) ofThinPool(ctx context.Context, object client.Object) ([]Key, error) {
	parts, err := t.view.Pools(ctx, object.GetName())
	return t.ofParts(ctx, parts, err)
}

func (t *Tracker) ofNode(ctx context.Context, object client.Object) ([]Key, error) {
	parts, err := t.view.PoolsOfNode(ctx, object.GetName())
	return t.ofParts(ctx, parts, err)
}

func (t *Tracker) ofAgent(ctx context.Context, object client.Object) ([]Key, error) {
	node := object.(*corev1.Pod).Spec.NodeName
	if node == "" {
		return nil, nil
	}
	parts, err := t.view.PoolsOfNode(ctx, node)
	return t.ofParts(ctx, parts, err)
}

func (t *Tracker) ofParts(ctx context.Context, parts []v1alpha1.NodeThinPool, err error) ([]Key, error) {
	var keys []Key
	for i := range parts {
		if err != nil {
			break
		}
		var more []Key
		more, err = t.onNode(ctx, parts[i].Spec.PoolName, parts[i].Spec.NodeName)
		keys = append(keys, more...)
	}
	return keys, err
}

// ofClass are the objects that a class is to have, and those that it has: it may be gone, or have changed its pool.
func (t *Tracker) ofClass(ctx context.Context, object client.Object) ([]Key, error) {
	class := object.(*storagev1.StorageClass)
	var keys []Key
	if pool, ok := view.PoolOfClass(class); ok {
		parts, err := t.view.Pools(ctx, pool)
		if err != nil {
			return nil, err
		}
		for i := range parts {
			keys = append(keys, Key{Class: class.Name, Node: parts[i].Spec.NodeName})
		}
	}
	var present storagev1.CSIStorageCapacityList
	if err := t.publisher.Client.List(ctx, &present, client.MatchingFields{indexClass: class.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return keys, err
	}
	for i := range present.Items {
		of, err := t.ofObject(ctx, &present.Items[i])
		if err != nil {
			return keys, err
		}
		keys = append(keys, of...)
	}
	return keys, nil
}

// ofObject is the key of an object that this package published: somebody may have changed or deleted it.
func (t *Tracker) ofObject(ctx context.Context, object client.Object) ([]Key, error) {
	published := object.(*storagev1.CSIStorageCapacity)
	if published.Labels[v1alpha1.LabelManagedBy] != v1alpha1.ManagedByCapacity {
		return nil, nil
	}
	part, err := ownerOf(ctx, t.publisher.Client, published)
	if part == nil || err != nil {
		return nil, err
	}
	return []Key{{Class: published.StorageClassName, Node: part.Spec.NodeName}}, nil
}

// ownerOf is the part of a pool that an object belongs to, or nil if that is gone. The caller must not change it.
func ownerOf(ctx context.Context, reader client.Reader, object *storagev1.CSIStorageCapacity) (*v1alpha1.NodeThinPool, error) {
	reference := metav1.GetControllerOf(object)
	if reference == nil || reference.Kind != "NodeThinPool" {
		return nil, nil
	}
	part := new(v1alpha1.NodeThinPool)
	if err := reader.Get(ctx, client.ObjectKey{Name: reference.Name}, part, client.UnsafeDisableDeepCopy); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if part.UID != reference.UID {
		return nil, nil
	}
	return part, nil
}
