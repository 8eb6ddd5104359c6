package csi

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// place is the node on which a request's volume is to live. One with a source lives where the source does, whichever node the
// scheduler chose, if the request allows that node: the topology of the answer then moves the pod. To refuse instead would have
// the scheduler make the same choice for ever. One without a source is never moved.
func (s *Service) place(ctx context.Context, r *request) (string, error) {
	if r.source == nil {
		return s.chooseNode(ctx, r)
	}
	// The request may be a repetition, and the source gone by now.
	volumes, err := s.view.VolumesOfRequest(ctx, r.name)
	if err != nil {
		return "", err
	}
	for i := range volumes {
		if volumes[i].DeletionTimestamp == nil && sameSource(volumes[i].Spec.Source, r) {
			return volumes[i].Spec.NodeName, nil
		}
	}
	from, err := s.origin(ctx, r.source)
	if err != nil {
		return "", err
	}
	if err := r.settle(from); err != nil {
		return "", err
	}
	value := v1alpha1.TopologyValue(from.node)
	if len(r.source.allowed) > 0 && !slices.Contains(r.source.allowed, value) {
		return "", &exhaustedError{fmt.Sprintf("the data of %s is on node %q, and accessibility_requirements.requisite does not allow that node", r.source, from.node)}
	}
	if r.preferred && r.nodes[0] != value {
		klog.FromContext(ctx).Info("Placing volume on the node of its source, not on the one that was chosen", "source", r.source, "node", from.node, "chosen", r.nodes[0])
	}
	return from.node, nil
}

// sameSource tells whether a volume was made from what a request names.
func sameSource(made *v1alpha1.VolumeSource, r *request) bool {
	if made == nil || r.source == nil {
		return made == nil && r.source == nil
	}
	return *made == r.source.reference
}

// describeSource says in a refusal that the data is on this node and nowhere else.
func (r *request) describeSource() string {
	if r.source == nil {
		return ""
	}
	return fmt.Sprintf("; it is to hold the data of %s, which is on this node and on no other", r.source)
}
