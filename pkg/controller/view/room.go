package view

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/headroom"
)

// Assessment is what is known of a pool's part on a node.
type Assessment struct {
	// Pool is the input of the headroom rule. It is zero, and does not admit, as long as the node has not reported.
	Pool headroom.Pool
	// Obstacle says why the pool takes no new volume at all; it is empty for a pool that does.
	Obstacle string
}

// Room is what the pool can still promise.
func (a Assessment) Room() headroom.Room { return headroom.Of(a.Pool) }

// NoPoolError says that a node has no part of a pool.
type NoPoolError struct{ Pool, Node string }

func (e *NoPoolError) Error() string {
	return fmt.Sprintf("node %q has no pool %q", e.Node, e.Pool)
}

// Assumed are volumes that were promised, or promised more, a moment ago, and snapshots by the names of their devices, with their
// sizes in bytes: the caches may not show them yet.
type Assumed map[string]int64

// Room assesses a pool on a node. The error is a *NoPoolError if the node has none.
func (v *View) Room(ctx context.Context, pool, node string, assumed Assumed) (Assessment, error) {
	var part v1alpha1.NodeThinPool
	err := v.reader.Get(ctx, client.ObjectKey{Name: v1alpha1.NodeThinPoolName(pool, node)}, &part, readOnly)
	if apierrors.IsNotFound(err) {
		return Assessment{}, &NoPoolError{Pool: pool, Node: node}
	} else if err != nil {
		return Assessment{}, err
	}
	return v.Assess(ctx, &part, assumed)
}

// Assess computes what is known of a pool's part from its status, the volumes and snapshots that exist or are assumed, and its
// node's health. It does not change part.
func (v *View) Assess(ctx context.Context, part *v1alpha1.NodeThinPool, assumed Assumed) (Assessment, error) {
	input, err := poolInput(part)
	if err != nil {
		// The node has not reported yet, or its report cannot be read: nothing is admitted.
		return Assessment{Obstacle: fmt.Sprintf("pool %q on node %q: %v", part.Spec.PoolName, part.Spec.NodeName, err)}, nil
	}
	volumes, err := v.Volumes(ctx, part.Spec.PoolName, part.Spec.NodeName)
	if err != nil {
		return Assessment{}, err
	}
	snapshots, err := v.Snapshots(ctx, part.Spec.PoolName, part.Spec.NodeName)
	if err != nil {
		return Assessment{}, err
	}
	groups, err := v.Groups(ctx, part.Spec.PoolName, part.Spec.NodeName)
	if err != nil {
		return Assessment{}, err
	}
	// Inline ephemeral volumes have no object: their node says what they were promised.
	input.Promised = add(promised(volumes, snapshots, groups, assumed, input.BlockSize), max(0, value(part.Status.InlineVolumeBytes)))
	obstacle, err := v.obstacle(ctx, part)
	if err != nil {
		return Assessment{}, err
	}
	input.Admitting = obstacle == ""
	return Assessment{Pool: input, Obstacle: obstacle}, nil
}

// Empty is the room that a part would have without any volume. The error is ErrNotReported while its size is not known.
func Empty(part *v1alpha1.NodeThinPool) (headroom.Room, error) {
	input, err := poolInput(part)
	if err != nil {
		return headroom.Room{}, err
	}
	input.DataUsed, input.Admitting = input.BaseBytes, true
	return headroom.Of(input), nil
}

func (v *View) obstacle(ctx context.Context, part *v1alpha1.NodeThinPool) (string, error) {
	where := fmt.Sprintf("pool %q on node %q", part.Spec.PoolName, part.Spec.NodeName)
	if part.DeletionTimestamp != nil {
		return where + " is being deleted", nil
	}
	var pool v1alpha1.ThinPool
	if err := v.reader.Get(ctx, client.ObjectKey{Name: part.Spec.PoolName}, &pool, readOnly); apierrors.IsNotFound(err) {
		return fmt.Sprintf("pool %q does not exist", part.Spec.PoolName), nil
	} else if err != nil {
		return "", err
	}
	if pool.DeletionTimestamp != nil {
		return fmt.Sprintf("pool %q is being deleted", pool.Name), nil
	}
	owns, err := v.Owns(ctx, &pool, part.Spec.NodeName, true)
	var badSelector *SelectorError
	if errors.As(err, &badSelector) {
		return badSelector.Error(), nil
	} else if err != nil {
		return "", err
	}
	unavailable, err := v.Unavailable(ctx, part.Spec.NodeName)
	if unavailable != "" || err != nil {
		return unavailable, err
	}
	if !owns {
		return fmt.Sprintf("pool %q does not select node %q any more", part.Spec.PoolName, part.Spec.NodeName), nil
	}
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionAdmitting} {
		condition := apimeta.FindStatusCondition(part.Status.Conditions, kind)
		if condition == nil {
			return fmt.Sprintf("%s has not reported the condition %s", where, kind), nil
		}
		if condition.Status != metav1.ConditionTrue {
			return fmt.Sprintf("%s is not %s: %s: %s", where, kind, condition.Reason, condition.Message), nil
		}
	}
	return "", nil
}
