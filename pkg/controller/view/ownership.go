package view

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// SelectorError is a ThinPool's node selector that cannot be evaluated.
type SelectorError struct {
	Pool string
	Err  error
}

func (e *SelectorError) Error() string {
	return fmt.Sprintf("ThinPool %q: spec.nodeSelector: %v", e.Pool, e.Err)
}

func (e *SelectorError) Unwrap() error { return e.Err }

// Selector is a ThinPool's node selector. everywhere is true for a pool that names no nodes, and so belongs on each that
// runs the driver. The error is a *SelectorError.
func Selector(pool *v1alpha1.ThinPool) (selector labels.Selector, everywhere bool, err error) {
	selected := pool.Spec.NodeSelector
	if selected == nil || len(selected.MatchLabels)+len(selected.MatchExpressions) == 0 {
		return labels.Everything(), true, nil
	}
	selector, err = metav1.LabelSelectorAsSelector(selected)
	if err != nil {
		return nil, false, &SelectorError{Pool: pool.Name, Err: err}
	}
	return selector, false, nil
}

// Owns tells whether a node is to own a part of a ThinPool: the pool is not being deleted, the node exists and is selected.
// A pool that names no nodes comes to a node with the driver and stays when the driver goes away, as it does for a moment
// at each start of the agent; present says that the node has its part.
func (v *View) Owns(ctx context.Context, pool *v1alpha1.ThinPool, nodeName string, present bool) (bool, error) {
	if pool.DeletionTimestamp != nil {
		return false, nil
	}
	selector, everywhere, err := Selector(pool)
	if err != nil {
		return false, err
	}
	var node corev1.Node
	if err := v.reader.Get(ctx, client.ObjectKey{Name: nodeName}, &node, readOnly); apierrors.IsNotFound(err) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	if !selector.Matches(labels.Set(node.Labels)) || node.DeletionTimestamp != nil {
		return false, nil
	}
	if everywhere && !present {
		return v.RunsDriver(ctx, nodeName)
	}
	return true, nil
}
