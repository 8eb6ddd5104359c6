package view

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/headroom"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// ErrNotReported says that a node has not reported the size of its pool.
var ErrNotReported = errors.New("the node has not reported its size yet")

// poolInput reads what a NodeThinPool says for the headroom rule, all but what was promised and whether it admits.
func poolInput(part *v1alpha1.NodeThinPool) (headroom.Pool, error) {
	if part.Status.Data.Total == nil || part.Status.Data.Used == nil || value(part.Status.BlockSize) <= 0 {
		return headroom.Pool{}, ErrNotReported
	}
	minFree, err := strconv.Atoi(strings.TrimSuffix(part.Spec.MinFreeSpace, "%"))
	if err != nil {
		return headroom.Pool{}, fmt.Errorf("minFreeSpace %q: must be from 0%% to 99%%", part.Spec.MinFreeSpace)
	}
	overprovision := int64(1000)
	if part.Spec.Overprovision != nil {
		overprovision = part.Spec.Overprovision.MilliValue()
	}
	return headroom.Pool{
		DataTotal:          value(part.Status.Data.Total),
		DataUsed:           value(part.Status.Data.Used),
		BaseBytes:          value(part.Status.BaseBytes),
		PendingBytes:       value(part.Status.PendingDeletionBytes),
		MinFreePercent:     minFree,
		OverprovisionMilli: overprovision,
		BlockSize:          value(part.Status.BlockSize),
	}, nil
}

// promised is the sum of the sizes of volumes and snapshots, each with what it is assumed to have by now, and of what is assumed and
// not among them, in bytes. A snapshot
// counts as a volume does: its pool must keep all of it while the volume is written anew. What its node refused holds nothing,
// and is about to go.
func promised(volumes []v1alpha1.ThinVolume, snapshots []v1alpha1.ThinSnapshot, groups []v1alpha1.ThinGroupSnapshot, assumed Assumed, blockSize int64) int64 {
	var sum int64
	own := make(map[string]bool, len(snapshots))
	seen := make(map[string]bool, len(assumed))
	count := func(name string, refused bool, size int64) {
		more, ok := assumed[name]
		if ok {
			seen[name] = true
		}
		if !refused {
			sum = add(sum, max(size, WholeBlocks(more, blockSize)))
		}
	}
	for i := range volumes {
		count(volumes[i].Name, Refused(&volumes[i]), VolumeSize(&volumes[i], blockSize))
	}
	for i := range snapshots {
		own[snapshots[i].Name] = true
		count(volumeid.SnapshotDevice(snapshots[i].Name), SnapshotRefused(&snapshots[i]), SnapshotSize(&snapshots[i], blockSize))
	}
	for i := range groups {
		// Its snapshots get objects of their own once all are taken.
		for _, member := range groups[i].Spec.Members {
			if !own[member.SnapshotName] {
				count(volumeid.SnapshotDevice(member.SnapshotName), GroupRefused(&groups[i]), WholeBlocks(member.Capacity.Value(), blockSize))
			}
		}
	}
	for name, size := range assumed {
		if !seen[name] {
			sum = add(sum, WholeBlocks(size, blockSize))
		}
	}
	return sum
}

// add adds two sizes and stays at the largest one that an int64 holds.
func add(a, b int64) int64 {
	if sum := a + b; sum >= a {
		return sum
	}
	return math.MaxInt64
}

// VolumeSize is what a volume may come to hold in its pool, in bytes: its thin device's size where its node has reported it,
// else its capacity in whole blocks.
func VolumeSize(volume *v1alpha1.ThinVolume, blockSize int64) int64 {
	return max(value(volume.Status.Size), WholeBlocks(volume.Spec.Capacity.Value(), blockSize))
}

// SnapshotSize is the same of a snapshot, and the least that a volume made from it has.
func SnapshotSize(snapshot *v1alpha1.ThinSnapshot, blockSize int64) int64 {
	if size := value(snapshot.Status.RestoreSize); size > 0 {
		return size
	}
	return WholeBlocks(snapshot.Spec.Capacity.Value(), blockSize)
}

// WholeBlocks rounds size up to a multiple of blockSize, or to the largest multiple that is an int64.
func WholeBlocks(size, blockSize int64) int64 {
	if size > math.MaxInt64-blockSize {
		return math.MaxInt64 / blockSize * blockSize
	}
	return (size + blockSize - 1) / blockSize * blockSize
}

// Refused tells whether a volume's node has said, finally, that it will not make the volume. Then no thin device exists.
func Refused(volume *v1alpha1.ThinVolume) bool {
	return refusedIn(volume.Status.Conditions, volume.Generation)
}

// SnapshotRefused tells the same of a snapshot.
func SnapshotRefused(snapshot *v1alpha1.ThinSnapshot) bool {
	return refusedIn(snapshot.Status.Conditions, snapshot.Generation)
}

// GroupRefused tells the same of a group of snapshots.
func GroupRefused(group *v1alpha1.ThinGroupSnapshot) bool {
	return refusedIn(group.Status.Conditions, group.Generation)
}

func refusedIn(conditions []metav1.Condition, generation int64) bool {
	condition := apimeta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if condition == nil || condition.Status != metav1.ConditionFalse || condition.ObservedGeneration < generation {
		return false
	}
	switch condition.Reason {
	case v1alpha1.ReasonNoSpace, v1alpha1.ReasonPoolNotReady, v1alpha1.ReasonInvalid, v1alpha1.ReasonWritesLost:
		return true
	}
	return false
}

func value(quantity *resource.Quantity) int64 {
	if quantity == nil {
		return 0
	}
	return quantity.Value()
}
