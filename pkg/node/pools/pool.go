package pools

import (
	"context"
	"time"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// Pool is what the node needs of an open pool. *thinpool.Pool is one.
type Pool interface {
	CreateVolume(ctx context.Context, spec thinpool.VolumeSpec) (thinpool.Volume, error)
	SnapshotGroup(ctx context.Context, members []thinpool.GroupMember) (thinpool.Group, error)
	GrowVolume(ctx context.Context, name string, size int64) (thinpool.Volume, error)
	Checkpoint(ctx context.Context, name string) error
	DeleteVolume(ctx context.Context, name string) error
	Activate(ctx context.Context, name string) (device string, err error)
	Deactivate(ctx context.Context, name string) error
	Volume(name string) (thinpool.Volume, error)
	Volumes() []thinpool.Volume
	LostVolumes() []string
	ActiveDevice(ctx context.Context, name string) (device string, err error)
	Status(ctx context.Context) (thinpool.Status, error)
	Grow(ctx context.Context) error
	Bases() []thinpool.BaseInfo
	DropBase(ctx context.Context, thin uint32) error
	Check(ctx context.Context) (thinpool.CheckReport, error)
	Trim(ctx context.Context, name string, step thinpool.TrimStep) (freed int64, err error)
	Usage(ctx context.Context) (thinpool.PoolUsage, error)
	Mapped(ctx context.Context) (map[string]int64, error)
	Watch(ctx context.Context, interval time.Duration, notify func()) error
	Reconfigure(ctx context.Context, config thinpool.Config) error
	Close() error
	Shutdown(ctx context.Context) error
}

// Opener opens a pool, as thinpool.Open does.
type Opener func(ctx context.Context, config thinpool.Config) (Pool, error)
