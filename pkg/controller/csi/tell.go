package csi

import (
	"context"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// reasonNoRoom is the reason of the event on a pod that waits for a volume whose data is on a node without room for it.
	reasonNoRoom = "NoRoomAtSource"
	// tellLimit bounds the search for pods, and toldPods how many of a namespace are looked at.
	tellLimit = 5 * time.Second
	toldPods  = 500
)

// tellPods lets the pods know that wait for a volume with a source, and cannot have it where its data is. The scheduler tells them
// only that provisioning failed, and goes on choosing nodes that look better and do not help. Nothing depends on it.
func (s *Service) tellPods(ctx context.Context, r *request, refusal error) {
	var exhausted *exhaustedError
	if r.source == nil || r.claim.Name == "" || r.claim.Namespace == "" || s.recorder == nil || !errors.As(refusal, &exhausted) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	var pods corev1.PodList
	if err := s.live.List(ctx, &pods, client.InNamespace(r.claim.Namespace), client.Limit(toldPods)); err != nil {
		klog.FromContext(ctx).Error(err, "Cannot find the pods that wait for a volume", "claim", klog.KRef(r.claim.Namespace, r.claim.Name))
		return
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.Spec.NodeName == "" && slices.ContainsFunc(pod.Spec.Volumes, func(volume corev1.Volume) bool {
			return volume.PersistentVolumeClaim != nil && volume.PersistentVolumeClaim.ClaimName == r.claim.Name
		}) {
			s.recorder.Eventf(pod, nil, corev1.EventTypeWarning, reasonNoRoom, "Provision", "claim %q: %s", r.claim.Name, exhausted.message)
		}
	}
}
