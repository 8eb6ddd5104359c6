package view

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// View asks the caches.
type View struct {
	reader client.Reader
}

// New makes a view of a reader whose caches have the indexes of AddIndexes and hold what CacheOptions leave.
func New(reader client.Reader) *View { return &View{reader: reader} }

// readOnly spares the copies: what is listed here is never changed.
const readOnly = client.UnsafeDisableDeepCopy

// Volumes are the ThinVolumes of a pool on a node. The caller must not change them.
func (v *View) Volumes(ctx context.Context, pool, node string) ([]v1alpha1.ThinVolume, error) {
	return v.volumes(ctx, client.MatchingFields{indexNodeName: node, indexPoolName: pool})
}

// VolumesOfPool are the ThinVolumes of a pool on all nodes. The caller must not change them.
func (v *View) VolumesOfPool(ctx context.Context, pool string) ([]v1alpha1.ThinVolume, error) {
	return v.volumes(ctx, client.MatchingFields{indexPoolName: pool})
}

// VolumesOfNode are the ThinVolumes of all pools of a node. The caller must not change them.
func (v *View) VolumesOfNode(ctx context.Context, node string) ([]v1alpha1.ThinVolume, error) {
	return v.volumes(ctx, client.MatchingFields{indexNodeName: node})
}

// VolumesOfRequest are the ThinVolumes that were made for a CreateVolume request, on whatever node. The caller must not
// change them.
func (v *View) VolumesOfRequest(ctx context.Context, request string) ([]v1alpha1.ThinVolume, error) {
	return v.volumes(ctx, client.MatchingFields{indexRequest: request})
}

// AllVolumes are the ThinVolumes of all pools and nodes. The caller must not change them.
func (v *View) AllVolumes(ctx context.Context) ([]v1alpha1.ThinVolume, error) {
	return v.volumes(ctx)
}

func (v *View) volumes(ctx context.Context, options ...client.ListOption) ([]v1alpha1.ThinVolume, error) {
	var list v1alpha1.ThinVolumeList
	err := v.reader.List(ctx, &list, append(options, readOnly)...)
	return list.Items, err
}

// Snapshots are the ThinSnapshots of a pool on a node. The caller must not change them.
func (v *View) Snapshots(ctx context.Context, pool, node string) ([]v1alpha1.ThinSnapshot, error) {
	return v.snapshots(ctx, client.MatchingFields{indexNodeName: node, indexPoolName: pool})
}

// SnapshotsOfPool are the ThinSnapshots of a pool on all nodes. The caller must not change them.
func (v *View) SnapshotsOfPool(ctx context.Context, pool string) ([]v1alpha1.ThinSnapshot, error) {
	return v.snapshots(ctx, client.MatchingFields{indexPoolName: pool})
}

// SnapshotsOfNode are the ThinSnapshots of all pools of a node. The caller must not change them.
func (v *View) SnapshotsOfNode(ctx context.Context, node string) ([]v1alpha1.ThinSnapshot, error) {
	return v.snapshots(ctx, client.MatchingFields{indexNodeName: node})
}

// SnapshotsOfVolume are the ThinSnapshots of a volume, which may be gone, or all of them if volume is empty. The caller must
// not change them.
func (v *View) SnapshotsOfVolume(ctx context.Context, volume string) ([]v1alpha1.ThinSnapshot, error) {
	if volume == "" {
		return v.snapshots(ctx)
	}
	return v.snapshots(ctx, client.MatchingFields{indexVolumeName: volume})
}

func (v *View) snapshots(ctx context.Context, options ...client.ListOption) ([]v1alpha1.ThinSnapshot, error) {
	var list v1alpha1.ThinSnapshotList
	err := v.reader.List(ctx, &list, append(options, readOnly)...)
	return list.Items, err
}

// Groups are the ThinGroupSnapshots of a pool on a node. The caller must not change them.
func (v *View) Groups(ctx context.Context, pool, node string) ([]v1alpha1.ThinGroupSnapshot, error) {
	return v.groups(ctx, client.MatchingFields{indexNodeName: node, indexPoolName: pool})
}

// GroupsOfPool are the ThinGroupSnapshots of a pool on all nodes. The caller must not change them.
func (v *View) GroupsOfPool(ctx context.Context, pool string) ([]v1alpha1.ThinGroupSnapshot, error) {
	return v.groups(ctx, client.MatchingFields{indexPoolName: pool})
}

// GroupsOfNode are the ThinGroupSnapshots of all pools of a node. The caller must not change them.
func (v *View) GroupsOfNode(ctx context.Context, node string) ([]v1alpha1.ThinGroupSnapshot, error) {
	return v.groups(ctx, client.MatchingFields{indexNodeName: node})
}

func (v *View) groups(ctx context.Context, options ...client.ListOption) ([]v1alpha1.ThinGroupSnapshot, error) {
	var list v1alpha1.ThinGroupSnapshotList
	err := v.reader.List(ctx, &list, append(options, readOnly)...)
	return list.Items, err
}

// Pools are the parts of a ThinPool on all nodes. The caller must not change them.
func (v *View) Pools(ctx context.Context, pool string) ([]v1alpha1.NodeThinPool, error) {
	return v.pools(ctx, client.MatchingFields{indexPoolName: pool})
}

// PoolsOfNode are the pools of a node. The caller must not change them.
func (v *View) PoolsOfNode(ctx context.Context, node string) ([]v1alpha1.NodeThinPool, error) {
	return v.pools(ctx, client.MatchingFields{indexNodeName: node})
}

func (v *View) pools(ctx context.Context, options ...client.ListOption) ([]v1alpha1.NodeThinPool, error) {
	var list v1alpha1.NodeThinPoolList
	err := v.reader.List(ctx, &list, append(options, readOnly)...)
	return list.Items, err
}

// ThinPools are all ThinPools. The caller must not change them.
func (v *View) ThinPools(ctx context.Context) ([]v1alpha1.ThinPool, error) {
	var list v1alpha1.ThinPoolList
	err := v.reader.List(ctx, &list, readOnly)
	return list.Items, err
}

// Nodes are all Nodes. The caller must not change them.
func (v *View) Nodes(ctx context.Context) ([]corev1.Node, error) {
	var list corev1.NodeList
	err := v.reader.List(ctx, &list, readOnly)
	return list.Items, err
}
