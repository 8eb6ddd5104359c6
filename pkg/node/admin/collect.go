package admin

import (
	"context"
	"errors"

	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// Pools tells of all pools that the node should have, by name.
func Pools(ctx context.Context, set *pools.Set) []PoolInfo {
	infos := []PoolInfo{}
	for _, name := range set.Names() {
		infos = append(infos, poolInfo(ctx, set, name))
	}
	return infos
}

func poolInfo(ctx context.Context, set *pools.Set, name string) PoolInfo {
	pool, err := set.Get(name)
	var notOpen *pools.NotOpenError
	if errors.As(err, &notOpen) {
		why := "it is being opened"
		if notOpen.Cause != nil {
			why = notOpen.Cause.Error()
		}
		return PoolInfo{Name: name, NotOpen: why}
	}
	state, err := pool.Status(ctx)
	if err != nil {
		return PoolInfo{Name: name, NotOpen: err.Error()}
	}
	config, _ := set.Config(name)
	info := PoolInfo{
		Name: name, DeviceName: state.DeviceName, PoolID: state.PoolID, BlockSize: state.BlockSize,
		Bases: bases(pool.Bases()), DataFiles: state.DataDevices, MetadataFile: state.MetadataDevice,
		Data: space(state.Data), Metadata: space(state.Metadata), BaseBytes: state.BaseBytes, PromisedBytes: state.PromisedBytes,
		MinimumFree: state.Data.Total / 100 * int64(config.MinFreePercent),
		UdevRunning: state.UdevRunning,
		// A deletion is recorded before the volume's blocks are given back, and survives a crash in between. A device that
		// somebody has open is removed by the kernel when it is closed.
		DeferredRemovalEnabled: true, DeferredRemovedDeviceCount: state.DeferredRemovals,
		DeferredDeletionEnabled: true, DeferredDeletedDeviceCount: state.PendingDeletions,
		DeviceMapperVersion: state.DeviceMapperVersion, ThinPoolVersion: state.ThinPoolVersion,
		Mode: string(state.Mode), NeedsCheck: state.NeedsCheck, Admitting: state.Admitting, AdmissionReason: state.AdmissionReason,
		Volumes: state.Volumes, LostVolumes: state.LostVolumes, UnknownDevices: state.UnknownThinDevices,
		SnapshotBudget: state.SnapshotBudget,
	}
	if config.Source.Loopback != nil {
		info.DataLoopFile = config.Source.Loopback.Path
	}
	return info
}

func space(s thinpool.Space) Space { return Space{Total: s.Total, Used: s.Used, Available: s.Free()} }

func bases(held []thinpool.BaseInfo) []Base {
	var list []Base
	for _, b := range held {
		list = append(list, Base{FSType: string(b.Format.Type), Size: b.Size, MkfsOptions: b.Format.Options, ThinID: b.ThinID, MappedBytes: b.MappedBytes})
	}
	return list
}

// Volumes tells of the volumes in all open pools, by pool and name.
func Volumes(set *pools.Set) []VolumeInfo {
	infos := []VolumeInfo{}
	for _, name := range set.Names() {
		pool, err := set.Get(name)
		if err != nil {
			continue // what is in it cannot be known; pool info says why
		}
		for _, volume := range pool.Volumes() {
			infos = append(infos, VolumeInfo{
				Name: volume.Name, Pool: name, ThinID: volume.ThinID, Size: volume.Size,
				FSType: string(volume.Format.Type), MkfsOptions: volume.Format.Options, Owner: volume.Owner,
			})
		}
	}
	return infos
}
