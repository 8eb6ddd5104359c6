//go:build linux

package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/crash/attached"
	"github.com/csi-dm/csi-dm/test/crash/content"
	"github.com/csi-dm/csi-dm/test/crash/history"
)

// operationLimit is far above what looking at one volume takes.
const operationLimit = time.Minute

// volume mounts a volume, which replays its journal, compares what is in it, unmounts it and has its file system checked.
func (i Inspection) volume(ctx context.Context, v thinpool.Volume) (sectors int, err error) {
	ctx, cancel := context.WithTimeout(ctx, operationLimit)
	defer cancel()
	used, err := attached.Open(ctx, i.Pool, i.Directory, v.Name, false)
	if err != nil {
		return 0, err
	}
	known := i.History.Volumes[v.Name]
	chunks := known.Chunks
	for _, n := range slices.Sorted(maps.Keys(chunks)) {
		found, wrong := compare(used, n, chunks[n])
		sectors += found
		err = errors.Join(err, wrong)
	}
	if undo := used.Unmount(); undo != nil {
		return sectors, errors.Join(err, undo)
	}
	if v.Format.Type != filesystem.XFS || !known.Unfitted {
		// xfs writes the copies of its superblock behind a growth and not through its log: a cut between leaves them with the old
		// size, which only xfs_repair minds.
		err = errors.Join(err, checkFileSystem(ctx, v.Format.Type, used.Device))
	}
	return sectors, errors.Join(err, i.Pool.Deactivate(ctx, v.Name))
}

// compare reads a chunk: each sector must have one of the versions that it may have.
func compare(v *attached.Volume, n int, may *history.Chunk) (sectors int, err error) {
	data, err := v.Read(n)
	if err != nil {
		return 0, err
	}
	versions, err := content.Versions(data, n)
	if err != nil {
		return 0, err
	}
	for sector, version := range versions {
		if !slices.Contains(may.Versions, version) {
			return sectors, fmt.Errorf("chunk %d, sector %d has version %#x; durable is %#x, it may have %#x (%d bytes were read)",
				n, sector, version, may.Versions[0], may.Versions, len(data))
		}
		if version != 0 {
			sectors++
		}
	}
	return sectors, nil
}

// checkFileSystem runs the file system's own checker, which must find nothing. It repairs nothing.
func checkFileSystem(ctx context.Context, t filesystem.Type, device string) (err error) {
	switch t {
	case filesystem.Ext4:
		_, err = run(ctx, "e2fsck", "-fn", "--", device)
	case filesystem.XFS:
		_, err = run(ctx, "xfs_repair", "-n", device)
	}
	return err
}
