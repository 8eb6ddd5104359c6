package csi

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// ListSnapshots lists the snapshots that are taken: all of them, those of a volume, or one.
func (s *Service) ListSnapshots(ctx context.Context, req *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	snapshots, err := s.view.SnapshotsOfVolume(ctx, req.GetSourceVolumeId())
	if err != nil {
		return nil, asStatus(err)
	}
	var names []string
	byName := make(map[string]*v1alpha1.ThinSnapshot, len(snapshots))
	for i := range snapshots {
		snapshot := &snapshots[i]
		if isTaken(snapshot) && (req.GetSnapshotId() == "" || req.GetSnapshotId() == snapshot.Name) {
			names = append(names, snapshot.Name)
			byName[snapshot.Name] = snapshot
		}
	}
	slices.SortFunc(names, strings.Compare)
	names, next, err := page(names, req.GetStartingToken(), req.GetMaxEntries())
	if err != nil {
		return nil, asStatus(err)
	}
	response := &csi.ListSnapshotsResponse{NextToken: next}
	for _, name := range names {
		response.Entries = append(response.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: describe(byName[name])})
	}
	return response, nil
}

// GetSnapshot tells about one snapshot, taken or not yet.
func (s *Service) GetSnapshot(ctx context.Context, req *csi.GetSnapshotRequest) (*csi.GetSnapshotResponse, error) {
	if req.GetSnapshotId() == "" {
		return nil, asStatus(&fieldError{"snapshot_id", "", "the handle of a snapshot"})
	}
	if err := volumeid.CheckSnapshot("snapshot_id", req.GetSnapshotId()); err != nil {
		return nil, asStatus(err)
	}
	snapshot, err := findObject[v1alpha1.ThinSnapshot](ctx, s, req.GetSnapshotId())
	if apierrors.IsNotFound(err) {
		err = &notFoundError{fmt.Sprintf("snapshot_id: snapshot %q does not exist", req.GetSnapshotId())}
	}
	if err != nil {
		return nil, asStatus(err)
	}
	return &csi.GetSnapshotResponse{Snapshot: describe(snapshot)}, nil
}
