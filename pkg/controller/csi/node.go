package csi

import (
	"context"
	"errors"
	"fmt"

	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// chooseNode is the node on which a request's volume is to live.
func (s *Service) chooseNode(ctx context.Context, r *request) (string, error) {
	if r.preferred {
		return s.nodeOf(ctx, r.nodes[0])
	}
	allowed, err := s.allowedNodes(ctx, r)
	if err != nil {
		return "", err
	}
	// The request may be a repetition.
	volumes, err := s.view.VolumesOfRequest(ctx, r.name)
	if err != nil {
		return "", err
	}
	for i := range volumes {
		if node := volumes[i].Spec.NodeName; volumes[i].DeletionTimestamp == nil && (allowed == nil || allowed[node]) {
			return node, nil
		}
	}
	return s.roomiest(ctx, r, allowed)
}

func (s *Service) nodeOf(ctx context.Context, topologyValue string) (string, error) {
	name, ok, err := s.view.Node(ctx, topologyValue)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", &exhaustedError{fmt.Sprintf("node %.64q does not exist", topologyValue)}
	}
	return name, nil
}

// allowedNodes is nil if every node is allowed.
func (s *Service) allowedNodes(ctx context.Context, r *request) (map[string]bool, error) {
	if len(r.nodes) == 0 {
		return nil, nil
	}
	allowed := map[string]bool{}
	for _, value := range r.nodes {
		name, ok, err := s.view.Node(ctx, value)
		if err != nil {
			return nil, err
		}
		if ok {
			allowed[name] = true
		}
	}
	return allowed, nil
}

// roomiest is the allowed node with the most headroom among those whose pool has room for the volume.
func (s *Service) roomiest(ctx context.Context, r *request, allowed map[string]bool) (string, error) {
	pools, err := s.view.Pools(ctx, r.pool)
	if err != nil {
		return "", err
	}
	var best string
	var most int64
	for i := range pools {
		node := pools[i].Spec.NodeName
		if allowed != nil && !allowed[node] {
			continue
		}
		assessment, err := s.view.Assess(ctx, &pools[i], s.assumed.of(part{r.pool, node}))
		if err != nil {
			return "", err
		}
		room := assessment.Room()
		if room.LargestVolume >= r.size.required && (best == "" || room.Total > most || (room.Total == most && node < best)) {
			best, most = node, room.Total
		}
	}
	if best != "" {
		return best, nil
	}
	if err := s.everFits(ctx, r); err != nil {
		return "", err
	}
	return "", &exhaustedError{fmt.Sprintf("no node has room for %d bytes in pool %q", r.size.required, r.pool)}
}

// everFits refuses a volume that is larger than any node's part of the pool could hold if it were empty. Parts of which
// nothing is known yet get the benefit of the doubt.
func (s *Service) everFits(ctx context.Context, r *request) error {
	pools, err := s.view.Pools(ctx, r.pool)
	if err != nil {
		return err
	}
	var largest int64
	for i := range pools {
		empty, err := view.Empty(&pools[i])
		if errors.Is(err, view.ErrNotReported) {
			return nil
		}
		if err != nil {
			return err
		}
		largest = max(largest, empty.LargestVolume)
	}
	if len(pools) > 0 && r.size.required > largest {
		return &rangeError{fieldError{"capacity_range.required_bytes", r.size.required,
			fmt.Sprintf("the largest volume that pool %q can hold on any node has %d bytes", r.pool, largest)}}
	}
	return nil
}
