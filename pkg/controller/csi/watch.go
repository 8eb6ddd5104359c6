package csi

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// keyOfVolume, keyOfSnapshot, keyOfGroup and keyOfNode are the notifier's keys.
func keyOfVolume(name string) string   { return "volume/" + name }
func keyOfSnapshot(name string) string { return "snapshot/" + name }
func keyOfGroup(name string) string    { return "group/" + name }
func keyOfNode(name string) string     { return "node/" + name }

// watch tells the notifier of each change that a call may wait for: of its volume, and of the health of its node.
func (s *Service) watch(ctx context.Context, informers cache.Informers) error {
	for _, watched := range []struct {
		object client.Object
		key    func(any) string
	}{
		{&v1alpha1.ThinVolume{}, func(o any) string { return keyOfVolume(o.(*v1alpha1.ThinVolume).Name) }},
		{&v1alpha1.ThinSnapshot{}, func(o any) string { return keyOfSnapshot(o.(*v1alpha1.ThinSnapshot).Name) }},
		{&v1alpha1.ThinGroupSnapshot{}, func(o any) string { return keyOfGroup(o.(*v1alpha1.ThinGroupSnapshot).Name) }},
		{&v1alpha1.NodeThinPool{}, func(o any) string { return keyOfNode(o.(*v1alpha1.NodeThinPool).Spec.NodeName) }},
		{&corev1.Node{}, func(o any) string { return keyOfNode(o.(*corev1.Node).Name) }},
		{&corev1.Pod{}, func(o any) string { return keyOfNode(o.(*corev1.Pod).Spec.NodeName) }},
	} {
		informer, err := informers.GetInformer(ctx, watched.object)
		if err != nil {
			return fmt.Errorf("watch %T: %w", watched.object, err)
		}
		notify := func(object any) { s.notifier.notify(watched.key(object)) }
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    notify,
			UpdateFunc: func(_, object any) { notify(object) },
			DeleteFunc: func(object any) {
				if last, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
					object = last.Obj
				}
				notify(object)
			},
		}); err != nil {
			return fmt.Errorf("watch %T: %w", watched.object, err)
		}
	}
	// The rest of what calls read: filled before the first call, not by it.
	for _, read := range []client.Object{&v1alpha1.ThinPool{}, &storagev1.StorageClass{}, &storagev1.CSINode{}} {
		if _, err := informers.GetInformer(ctx, read); err != nil {
			return fmt.Errorf("watch %T: %w", read, err)
		}
	}
	return nil
}
