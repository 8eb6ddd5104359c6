package view

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/volumehealth"
)

// Health tells what is wrong with volumes, by what their nodes have reported. It asks for each pool and node once: make one for
// each round of questions. It is for one goroutine.
type Health struct {
	view *View
	// places are what is wrong with all volumes of a pool on a node.
	places map[client.ObjectKey][]volumehealth.Problem
}

// Health begins a round of questions.
func (v *View) Health() *Health {
	return &Health{view: v, places: map[client.ObjectKey][]volumehealth.Problem{}}
}

// Of tells what is wrong with a volume: alone, with its pool, and with its node. A volume lives on one node, so what that one
// cannot reach nobody can.
func (h *Health) Of(ctx context.Context, volume *v1alpha1.ThinVolume) ([]volumehealth.Problem, error) {
	key := client.ObjectKey{Name: v1alpha1.NodeThinPoolName(volume.Spec.PoolName, volume.Spec.NodeName)}
	place, known := h.places[key]
	if !known {
		var err error
		if place, err = h.ofPlace(ctx, key, volume.Spec.NodeName); err != nil {
			return nil, err
		}
		h.places[key] = place
	}
	problems := OfVolume(volume)
	return append(problems, place...), nil
}

// OfVolume tells what is wrong with a volume alone.
func OfVolume(volume *v1alpha1.ThinVolume) []volumehealth.Problem {
	var problems []volumehealth.Problem
	if problem, found := volumehealth.FromCondition(volume.Status.Conditions); found {
		problems = append(problems, problem)
	}
	// One that was made, and that its node does not find in the pool any more.
	ready := apimeta.FindStatusCondition(volume.Status.Conditions, v1alpha1.ConditionReady)
	if volume.Status.ThinID != nil && ready != nil && ready.Status == metav1.ConditionFalse && ready.Reason == v1alpha1.ReasonVolumeNotFound {
		problems = append(problems, volumehealth.New(ready.Reason, ready.Message))
	}
	return problems
}

func (h *Health) ofPlace(ctx context.Context, part client.ObjectKey, nodeName string) ([]volumehealth.Problem, error) {
	var problems []volumehealth.Problem
	var node corev1.Node
	err := h.view.reader.Get(ctx, client.ObjectKey{Name: nodeName}, &node, readOnly)
	switch {
	case apierrors.IsNotFound(err):
		problems = append(problems, volumehealth.New(v1alpha1.ReasonNodeNotFound, fmt.Sprintf("node %q does not exist", nodeName)))
	case err != nil:
		return nil, err
	case !nodeReady(&node):
		problems = append(problems, volumehealth.New(v1alpha1.ReasonNodeNotReady, fmt.Sprintf("node %q is not ready", nodeName)))
	}
	var pool v1alpha1.NodeThinPool
	if err := h.view.reader.Get(ctx, part, &pool, readOnly); err != nil {
		return problems, client.IgnoreNotFound(err)
	}
	if problem, found := volumehealth.FromCondition(pool.Status.Conditions); found {
		problems = append(problems, problem)
	}
	return problems, nil
}
