package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// groups: a ThinGroupSnapshot stands for snapshots of several volumes of one moment.
type groups struct{}

func (groups) name() string                       { return "group" }
func (groups) empty() *v1alpha1.ThinGroupSnapshot { return &v1alpha1.ThinGroupSnapshot{} }

func (groups) about(o *v1alpha1.ThinGroupSnapshot) about {
	taken := o.Status.CreationTime != nil
	return about{
		nodeName: o.Spec.NodeName, poolName: o.Spec.PoolName, made: taken,
		settled:    taken, // its snapshots have objects of their own
		conditions: &o.Status.Conditions, observedGeneration: &o.Status.ObservedGeneration,
	}
}

func (groups) valid(object *v1alpha1.ThinGroupSnapshot) bool {
	_, err := groupMembers(object)
	return err == nil
}

func (groups) list(ctx context.Context, reader client.Reader, poolName string) ([]*v1alpha1.ThinGroupSnapshot, error) {
	objects, err := groupsOf(ctx, reader, poolName)
	return pointers(objects), err
}

// groupsOf lists the node's groups in a pool.
func groupsOf(ctx context.Context, reader client.Reader, poolName string) ([]v1alpha1.ThinGroupSnapshot, error) {
	var list v1alpha1.ThinGroupSnapshotList
	err := reader.List(ctx, &list)
	return slices.DeleteFunc(list.Items, func(o v1alpha1.ThinGroupSnapshot) bool { return o.Spec.PoolName != poolName }), err
}

// ensure takes the group. What it says of it is when that was, and how long I/O was held back for it.
func (groups) ensure(ctx context.Context, pool pools.Pool, _ string, object *v1alpha1.ThinGroupSnapshot) (*existing[*v1alpha1.ThinGroupSnapshot], error) {
	members, err := groupMembers(object)
	if err != nil {
		return nil, err
	}
	group, err := pool.SnapshotGroup(ctx, members)
	if err != nil {
		return nil, err
	}
	return &existing[*v1alpha1.ThinGroupSnapshot]{
		message: "All snapshots of the group are taken.",
		fill: func(object *v1alpha1.ThinGroupSnapshot) {
			object.Status.CreationTime = ptr.To(metav1.NewMicroTime(group.Volumes[0].Created.Truncate(time.Microsecond)))
			if group.Held > 0 {
				object.Status.LongestFreeze = &metav1.Duration{Duration: group.Held.Round(time.Microsecond)}
			}
		},
	}, nil
}

// remove deletes what is left of the group's snapshots. Those that have an object of their own may be gone already; those of a
// group that was taken back before it was acknowledged never had one.
func (groups) remove(ctx context.Context, pool pools.Pool, object *v1alpha1.ThinGroupSnapshot) error {
	members, err := groupMembers(object)
	if err != nil {
		return err
	}
	for _, member := range members {
		if err := pool.DeleteVolume(ctx, member.Name); err != nil {
			return err
		}
	}
	return nil
}

// groupMembers are what the engine is asked for. Errors match thinpool.ErrInvalid and name the field.
func groupMembers(object *v1alpha1.ThinGroupSnapshot) ([]thinpool.GroupMember, error) {
	var members []thinpool.GroupMember
	for i, member := range object.Spec.Members {
		field := fmt.Sprintf("spec.members[%d]", i)
		if err := errors.Join(
			volumeid.CheckSnapshot(field+".snapshotName", member.SnapshotName), volumeid.Check(field+".volumeName", member.VolumeName),
		); err != nil {
			return nil, fmt.Errorf("%w: %w", thinpool.ErrInvalid, err)
		}
		members = append(members, thinpool.GroupMember{Name: volumeid.SnapshotDevice(member.SnapshotName), Source: member.VolumeName})
	}
	return members, nil
}
