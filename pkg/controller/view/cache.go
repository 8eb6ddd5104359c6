package view

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// CacheOptions keep the caches small: of the nodes' agents and the capacity objects only those in the controller's namespace,
// of Nodes, Pods, claims and CSINodes only what the controller reads.
func CacheOptions(namespace string, agents labels.Selector) cache.Options {
	own := map[string]cache.Config{namespace: {}}
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Node{}:                  {Transform: trimNode},
			&corev1.PersistentVolumeClaim{}: {Transform: trimClaim},
			&corev1.Pod{}:                   {Transform: trimPod, Namespaces: own, Label: agents},
			&storagev1.CSINode{}:            {Transform: trimCSINode},
			&storagev1.CSIStorageCapacity{}: {Namespaces: own},
		},
	}
}

func trimNode(object any) (any, error) {
	node, ok := object.(*corev1.Node)
	if !ok {
		return object, nil
	}
	trimmed := &corev1.Node{TypeMeta: node.TypeMeta, ObjectMeta: identity(node.ObjectMeta)}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			// Without the heartbeat, which changes all the time.
			condition.LastHeartbeatTime = metav1.Time{}
			trimmed.Status.Conditions = []corev1.NodeCondition{condition}
		}
	}
	return trimmed, nil
}

func trimClaim(object any) (any, error) {
	claim, ok := object.(*corev1.PersistentVolumeClaim)
	if !ok {
		return object, nil
	}
	trimmed := &corev1.PersistentVolumeClaim{TypeMeta: claim.TypeMeta, ObjectMeta: identity(claim.ObjectMeta)}
	trimmed.Labels = nil
	trimmed.Spec.StorageClassName = claim.Spec.StorageClassName
	trimmed.Status.Phase = claim.Status.Phase
	return trimmed, nil
}

func trimPod(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	trimmed := &corev1.Pod{TypeMeta: pod.TypeMeta, ObjectMeta: identity(pod.ObjectMeta)}
	trimmed.Spec.NodeName = pod.Spec.NodeName
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			trimmed.Status.Conditions = []corev1.PodCondition{condition}
		}
	}
	return trimmed, nil
}

func trimCSINode(object any) (any, error) {
	node, ok := object.(*storagev1.CSINode)
	if !ok {
		return object, nil
	}
	trimmed := &storagev1.CSINode{TypeMeta: node.TypeMeta, ObjectMeta: identity(node.ObjectMeta)}
	for _, driver := range node.Spec.Drivers {
		trimmed.Spec.Drivers = append(trimmed.Spec.Drivers, storagev1.CSINodeDriver{Name: driver.Name, NodeID: driver.NodeID})
	}
	return trimmed, nil
}

// identity drops annotations and managed fields.
func identity(meta metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: meta.Namespace, Name: meta.Name, UID: meta.UID, ResourceVersion: meta.ResourceVersion,
		Labels: meta.Labels, CreationTimestamp: meta.CreationTimestamp, DeletionTimestamp: meta.DeletionTimestamp,
	}
}
