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

// promised is the sum of the sizes of volumes and of those assumed volumes that are not among them, in bytes. A volume that
// its node refused holds nothing, and is about to go.
func promised(volumes []v1alpha1.ThinVolume, assumed Assumed, blockSize int64) int64 {
	var sum int64
	seen := make(map[string]bool, len(assumed))
	for i := range volumes {
		if _, ok := assumed[volumes[i].Name]; ok {
			seen[volumes[i].Name] = true
		}
		if !Refused(&volumes[i]) {
			sum = add(sum, VolumeSize(&volumes[i], blockSize))
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

// WholeBlocks rounds size up to a multiple of blockSize, or to the largest multiple that is an int64.
func WholeBlocks(size, blockSize int64) int64 {
	if size > math.MaxInt64-blockSize {
		return math.MaxInt64 / blockSize * blockSize
	}
	return (size + blockSize - 1) / blockSize * blockSize
}

// Refused tells whether a volume's node has said, finally, that it will not make the volume. Then no thin device exists.
func Refused(volume *v1alpha1.ThinVolume) bool {
	condition := apimeta.FindStatusCondition(volume.Status.Conditions, v1alpha1.ConditionReady)
	if condition == nil || condition.Status != metav1.ConditionFalse || condition.ObservedGeneration < volume.Generation {
		return false
	}
	switch condition.Reason {
	case v1alpha1.ReasonNoSpace, v1alpha1.ReasonPoolNotReady, v1alpha1.ReasonInvalid:
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
