package agent

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
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
	status.Data, status.Metadata = usage(state.Data), usage(state.Metadata)
	status.BaseBytes = bytes(state.BaseBytes)
	status.PendingDeletionBytes = bytes(state.PendingDeletionBytes)
	status.PromisedBytes = bytes(state.PromisedBytes)
	status.InlineVolumeBytes = bytes(state.OwnedBytes)
	status.Volumes = int32(state.Volumes)
	status.SnapshotBudget = state.SnapshotBudget
	status.Mode = modes[state.Mode]
	status.UdevRunning = state.UdevRunning
	status.KernelVersions = &v1alpha1.KernelVersions{DeviceMapper: state.DeviceMapperVersion, ThinPool: state.ThinPoolVersion}
}

func usage(space thinpool.Space) v1alpha1.SpaceUsage {
	return v1alpha1.SpaceUsage{Total: bytes(space.Total), Used: bytes(space.Used), State: v1alpha1.SpaceState(space.State)}
}

// matters tells whether a reader decides anything by the difference between two statuses; the rest can wait. Used space
// matters in steps of a hundredth of the whole.
func matters(old, now *v1alpha1.NodeThinPoolStatus) bool {
	return old.PoolID != now.PoolID || old.DeviceName != now.DeviceName || old.Mode != now.Mode ||
		old.ObservedGeneration != now.ObservedGeneration ||
		!sameQuantity(old.BlockSize, now.BlockSize) || !sameQuantity(old.BaseBytes, now.BaseBytes) ||
		!sameQuantity(old.PendingDeletionBytes, now.PendingDeletionBytes) || !sameQuantity(old.InlineVolumeBytes, now.InlineVolumeBytes) ||
		old.OrphanedVolumes != now.OrphanedVolumes || old.UdevRunning != now.UdevRunning ||
		!ptr.Equal(old.KernelVersions, now.KernelVersions) ||
		usageMatters(old.Data, now.Data) || usageMatters(old.Metadata, now.Metadata) ||
		conditionsMatter(old.Conditions, now.Conditions)
}

func usageMatters(old, now v1alpha1.SpaceUsage) bool {
	if !sameQuantity(old.Total, now.Total) || old.State != now.State || (old.Used == nil) != (now.Used == nil) {
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
