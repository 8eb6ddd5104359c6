package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// namedOrphans is how many orphaned volumes a condition names.
const namedOrphans = 10

// orphanCounts remembers how many orphaned volumes each pool was found to hold.
type orphanCounts struct {
	mu     sync.Mutex
	counts map[string]int
}

func (o *orphanCounts) set(pool string, count int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.counts == nil {
		o.counts = make(map[string]int)
	}
	o.counts[pool] = count
}

// get gives the count of a pool that was looked at.
func (o *orphanCounts) get(pool string) (count int, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	count, known = o.counts[pool]
	return count, known
}

// orphanedVolumes lists the volumes that a pool holds and that have no ThinVolume or ThinSnapshot: of a node that came back after its
// objects were released, or whose finalizers were removed by hand. They are reported and left alone. A volume with an owner is a
// pod's and never has an object: it goes with the pod.
//
// A volume's object is there before the volume is made and until it is deleted, and the node knew of it to make it; so a
// volume without one is no volume on its way.
func orphanedVolumes(ctx context.Context, reader client.Reader, poolName string, pool pools.Pool) ([]string, error) {
	held := pool.Volumes()
	if len(held) == 0 {
		return nil, nil
	}
	objects, err := volumesOf(ctx, reader, poolName)
	if err != nil {
		return nil, err
	}
	snapshots, err := snapshotsOf(ctx, reader, poolName)
	if err != nil {
		return nil, err
	}
	groups, err := groupsOf(ctx, reader, poolName)
	if err != nil {
		return nil, err
	}
	known := make(map[string]bool, len(objects)+len(snapshots))
	for i := range objects {
		known[objects[i].Name] = true
	}
	for i := range snapshots {
		known[volumeid.SnapshotDevice(snapshots[i].Name)] = true
	}
	for i := range groups {
		for _, member := range groups[i].Spec.Members {
			known[volumeid.SnapshotDevice(member.SnapshotName)] = true
		}
	}
	var orphaned []string
	for _, volume := range held {
		if volume.Owner == "" && !known[volume.Name] {
			orphaned = append(orphaned, volume.Name)
		}
	}
	slices.Sort(orphaned)
	return orphaned, nil
}

func orphansCondition(orphaned []string) metav1.Condition {
	if len(orphaned) == 0 {
		return conditionOf(v1alpha1.ConditionNoOrphans, metav1.ConditionTrue, v1alpha1.ReasonNoneOrphaned, "Each volume of the pool has a ThinVolume or ThinSnapshot.")
	}
	names := strings.Join(orphaned[:min(len(orphaned), namedOrphans)], ", ")
	if more := len(orphaned) - namedOrphans; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return conditionOf(v1alpha1.ConditionNoOrphans, metav1.ConditionFalse, v1alpha1.ReasonOrphanedVolumes,
		"The pool holds %d volumes that have no ThinVolume or ThinSnapshot: %s. They take space and are left alone.", len(orphaned), names)
}
