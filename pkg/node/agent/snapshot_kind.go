package agent

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// snapshots: a ThinSnapshot stands for a thin device that nobody writes to.
type snapshots struct{}

func (snapshots) name() string                  { return "snapshot" }
func (snapshots) empty() *v1alpha1.ThinSnapshot { return &v1alpha1.ThinSnapshot{} }

func (snapshots) about(o *v1alpha1.ThinSnapshot) about {
	return about{
		nodeName: o.Spec.NodeName, poolName: o.Spec.PoolName, made: o.Status.ThinID != nil,
		conditions: &o.Status.Conditions, observedGeneration: &o.Status.ObservedGeneration,
	}
}

func (snapshots) valid(object *v1alpha1.ThinSnapshot) bool {
	return volumeid.CheckSnapshot("metadata.name", object.Name) == nil
}

func (snapshots) list(ctx context.Context, reader client.Reader, poolName string) ([]*v1alpha1.ThinSnapshot, error) {
	objects, err := snapshotsOf(ctx, reader, poolName)
	return pointers(objects), err
}

// snapshotsOf lists the node's snapshots in a pool.
func snapshotsOf(ctx context.Context, reader client.Reader, poolName string) ([]v1alpha1.ThinSnapshot, error) {
	var list v1alpha1.ThinSnapshotList
	err := reader.List(ctx, &list)
	return slices.DeleteFunc(list.Items, func(o v1alpha1.ThinSnapshot) bool { return o.Spec.PoolName != poolName }), err
}

// ensure takes the snapshot only if it was never taken.
func (s snapshots) ensure(ctx context.Context, pool pools.Pool, poolID string, object *v1alpha1.ThinSnapshot) (*existing[*v1alpha1.ThinSnapshot], error) {
	spec, err := snapshotSpec(object)
	if err != nil {
		return nil, err
	}
	var snapshot thinpool.Volume
	switch {
	case object.Status.ThinID != nil:
		snapshot, err = sameDevice(pool, spec.Name, poolID, object.Status.PoolID, *object.Status.ThinID)
	case object.Spec.GroupName != "":
		snapshot, err = ofGroup(pool, spec)
	default:
		snapshot, err = pool.CreateVolume(ctx, spec)
	}
	if err != nil {
		return nil, err
	}
	return takenSnapshot(snapshot, poolID), nil
}

// ofGroup gives a snapshot that its group has taken. One that the pool does not hold is lost: taken now it would be of another
// moment than the others.
func ofGroup(pool pools.Pool, spec thinpool.VolumeSpec) (thinpool.Volume, error) {
	snapshot, err := pool.Volume(spec.Name)
	if err == nil && snapshot.Source != spec.Source {
		err = fmt.Errorf("%w: it is of %q and not of %q", thinpool.ErrVolumeNotFound, snapshot.Source, spec.Source)
	}
	return snapshot, err
}

// remove deletes the snapshot. Volumes that were made from it do not notice.
func (snapshots) remove(ctx context.Context, pool pools.Pool, object *v1alpha1.ThinSnapshot) error {
	return pool.DeleteVolume(ctx, volumeid.SnapshotDevice(object.Name))
}
