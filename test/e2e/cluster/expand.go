package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ExpandClaim asks for another size of a claim, in bytes, as its owner does.
func (c *Cluster) ExpandClaim(ctx context.Context, claim *corev1.PersistentVolumeClaim, size int64) error {
	if err := c.Get(ctx, client.ObjectKeyFromObject(claim), claim); err != nil {
		return err
	}
	before := claim.DeepCopy()
	claim.Spec.Resources.Requests[corev1.ResourceStorage] = *resource.NewQuantity(size, resource.BinarySI)
	return c.Patch(ctx, claim, client.MergeFrom(before))
}

// resizeConditions are those of a claim that a growth sets, and clears when it is through.
var resizeConditions = []corev1.PersistentVolumeClaimConditionType{
	corev1.PersistentVolumeClaimResizing, corev1.PersistentVolumeClaimFileSystemResizePending,
	corev1.PersistentVolumeClaimControllerResizeError, corev1.PersistentVolumeClaimNodeResizeError,
}

// touchedAnnotation is what touch changes of a pod.
const touchedAnnotation = "e2e.csi-dm.io/touched"

// AwaitExpanded waits until a claim has a size and nothing of its growth is left to do. Kubelet looks at the size of a claim when it
// synchronises a pod, once a minute or when the pod changes: so the claim's pod, if it has one, is changed
// meanwhile.
func (c *Cluster) AwaitExpanded(ctx context.Context, limit time.Duration, claim *corev1.PersistentVolumeClaim, size int64, pod *corev1.Pod) error {
	touched := time.Now()
	return c.AwaitObject(ctx, limit, claim, fmt.Sprintf("grown to %d bytes", size), func() string {
		if now := time.Now(); pod != nil && now.Sub(touched) > 5*time.Second {
			touched = now
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, touchedAnnotation, now.Format(time.RFC3339))
			if err := c.Patch(ctx, pod.DeepCopy(), client.RawPatch(types.MergePatchType, patch)); err != nil {
				return err.Error()
			}
		}
		status := claim.Status
		left := slices.DeleteFunc(slices.Clone(status.Conditions), func(c corev1.PersistentVolumeClaimCondition) bool { return !slices.Contains(resizeConditions, c.Type) })
		if has := status.Capacity[corev1.ResourceStorage]; has.Value() != size || len(status.AllocatedResourceStatuses) > 0 || len(left) > 0 {
			return fmt.Sprintf("it has %d, is %v, and says %+v", has.Value(), status.AllocatedResourceStatuses, left)
		}
		return ""
	})
}

// AwaitResizeStatus waits until a claim's growth is in a state.
func (c *Cluster) AwaitResizeStatus(ctx context.Context, limit time.Duration, claim *corev1.PersistentVolumeClaim, want corev1.ClaimResourceStatus) error {
	return c.AwaitObject(ctx, limit, claim, fmt.Sprintf("in state %q", want), func() string {
		if is := claim.Status.AllocatedResourceStatuses[corev1.ResourceStorage]; is != want {
			return fmt.Sprintf("it is %q with conditions %+v", is, claim.Status.Conditions)
		}
		return ""
	})
}
