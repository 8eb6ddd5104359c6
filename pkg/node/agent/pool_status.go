package agent

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// Reasons that nobody but a person acts on.
const (
	reasonDeleting     = "Deleting"
	reasonBlockDevices = "BlockDevices"
)

var modes = map[thinpool.Mode]v1alpha1.PoolMode{
	thinpool.ModeReadWrite:      v1alpha1.PoolModeReadWrite,
	thinpool.ModeOutOfDataSpace: v1alpha1.PoolModeOutOfDataSpace,
	thinpool.ModeReadOnly:       v1alpha1.PoolModeReadOnly,
	thinpool.ModeFailed:         v1alpha1.PoolModeFailed,
}

func bytes(n int64) *resource.Quantity { return resource.NewQuantity(n, resource.BinarySI) }

// fillStatus writes the engine's figures into an object's status; conditions are left as they are.
func fillStatus(status *v1alpha1.NodeThinPoolStatus, state thinpool.Status) {
	status.PoolID = state.PoolID
	status.DeviceName = state.DeviceName
	status.BlockSize = bytes(state.BlockSize)
	status.Data = v1alpha1.SpaceUsage{Total: bytes(state.Data.Total), Used: bytes(state.Data.Used)}
	status.Metadata = v1alpha1.SpaceUsage{Total: bytes(state.Metadata.Total), Used: bytes(state.Metadata.Used)}
	status.BaseBytes = bytes(state.BaseBytes)
	status.PromisedBytes = bytes(state.PromisedBytes)
	status.Volumes = int32(state.Volumes)
	status.SnapshotBudget = state.SnapshotBudget
	status.Mode = modes[state.Mode]
	status.KernelVersions = &v1alpha1.KernelVersions{DeviceMapper: state.DeviceMapperVersion, ThinPool: state.ThinPoolVersion}
}

// poolConditions are the conditions of an open pool. configErr is what came of applying the object's settings to it.
func poolConditions(state thinpool.Status, configErr error) []metav1.Condition {
	ready := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady,
		Message: "The pool is open and serves volumes."}
	switch {
	case state.Mode == thinpool.ModeReadOnly || state.Mode == thinpool.ModeFailed:
		ready.Status, ready.Reason = metav1.ConditionFalse, v1alpha1.ReasonPoolFailed
		ready.Message = fmt.Sprintf("The kernel holds the pool in mode %s.", state.Mode)
	case state.NeedsCheck:
		ready.Status, ready.Reason = metav1.ConditionFalse, v1alpha1.ReasonPoolFailed
		ready.Message = "The kernel demands a check of the pool's metadata before it writes again."
	case configErr != nil:
		// It goes on with the settings that it has; what is wrong with the new ones is said.
		ready.Reason, _ = reason(configErr)
		ready.Status, ready.Message = metav1.ConditionFalse, message(configErr)
	}
	admitting := metav1.Condition{Type: v1alpha1.ConditionAdmitting, Status: metav1.ConditionTrue,
		Reason: v1alpha1.ReasonAdmittingVolume, Message: "New volumes are accepted."}
	switch {
	case ready.Status != metav1.ConditionTrue:
		admitting.Status, admitting.Reason, admitting.Message = metav1.ConditionFalse, v1alpha1.ReasonPoolNotReady, "The pool is not ready."
	case !state.Admitting:
		admitting.Status, admitting.Reason, admitting.Message = metav1.ConditionFalse, v1alpha1.ReasonBelowMinFree, state.AdmissionReason
	}
	production := metav1.Condition{Type: v1alpha1.ConditionProductionGrade, Status: metav1.ConditionTrue,
		Reason: reasonBlockDevices, Message: "The pool stands on block devices."}
	if state.Loopback {
		production.Status, production.Reason = metav1.ConditionFalse, v1alpha1.ReasonLoopback
		production.Message = "The pool stands on a file behind a loop device: for trying out and for tests, not for production."
	}
	return []metav1.Condition{ready, admitting, production}
}

// notReadyConditions are the conditions of a pool that could not be opened or does not tell its state.
func notReadyConditions(err error) []metav1.Condition {
	why, _ := reason(err)
	return []metav1.Condition{
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: why, Message: message(err)},
		{Type: v1alpha1.ConditionAdmitting, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonPoolNotReady, Message: "The pool is not ready."},
	}
}

// matters tells whether a reader decides anything by the difference between two statuses; the rest can wait. Used space
// matters in steps of a hundredth of the whole.
func matters(old, now *v1alpha1.NodeThinPoolStatus) bool {
	return old.PoolID != now.PoolID || old.DeviceName != now.DeviceName || old.Mode != now.Mode ||
		old.ObservedGeneration != now.ObservedGeneration ||
		!sameQuantity(old.BlockSize, now.BlockSize) || !sameQuantity(old.BaseBytes, now.BaseBytes) ||
		!ptr.Equal(old.KernelVersions, now.KernelVersions) ||
		usageMatters(old.Data, now.Data) || usageMatters(old.Metadata, now.Metadata) ||
		conditionsMatter(old.Conditions, now.Conditions)
}

func usageMatters(old, now v1alpha1.SpaceUsage) bool {
	if !sameQuantity(old.Total, now.Total) || (old.Used == nil) != (now.Used == nil) {
		return true
	}
	if old.Used == nil || now.Total == nil {
		return false
	}
	step := now.Total.Value() / 100
	difference := now.Used.Value() - old.Used.Value()
	return max(difference, -difference) > step
}

func conditionsMatter(old, now []metav1.Condition) bool {
	if len(old) != len(now) {
		return true
	}
	for i := range now {
		// Messages carry figures that change; what they stand for is in the reason.
		if old[i].Type != now[i].Type || old[i].Status != now[i].Status || old[i].Reason != now[i].Reason {
			return true
		}
	}
	return false
}

func sameQuantity(a, b *resource.Quantity) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Cmp(*b) == 0
}
