package thinpool

import (
	"context"
	"errors"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// Pool is an open thin pool. Its methods may be called concurrently.
type Pool struct{}

// Open makes the pool that config describes, or reopens it where its devices already carry it.
func Open(ctx context.Context, dm *devicemapper.Client, config Config) (*Pool, error) {
	return nil, errors.ErrUnsupported
}

// Reconfigure applies what may change while the pool is open: MinFreePercent, OverprovisionMilli, ErrorIfNoSpace,
// DiscardPassdown. Anything else is ErrSourceChanged.
func (p *Pool) Reconfigure(ctx context.Context, config Config) error { return errors.ErrUnsupported }

// CreateVolume makes a volume as a snapshot of its base, which it makes first where there is none. It is durable when it
// returns. Idempotent by name: the same spec again gives the same volume, another spec ErrVolumeExists.
func (p *Pool) CreateVolume(ctx context.Context, spec VolumeSpec) (Volume, error) {
	return Volume{}, errors.ErrUnsupported
}

// DeleteVolume deactivates the volume, deletes its thin device and forgets its name. A volume that does not exist is
// success; one whose device is open is ErrVolumeInUse.
func (p *Pool) DeleteVolume(ctx context.Context, name string) error { return errors.ErrUnsupported }

// Activate makes the volume's block device and gives its path (/dev/dm-N). Idempotent.
func (p *Pool) Activate(ctx context.Context, name string) (string, error) {
	return "", errors.ErrUnsupported
}

// Deactivate removes the volume's block device. Idempotent; an open device is ErrVolumeInUse.
func (p *Pool) Deactivate(ctx context.Context, name string) error { return errors.ErrUnsupported }

// Volume gives a volume by name, or ErrVolumeNotFound.
func (p *Pool) Volume(name string) (Volume, error) { return Volume{}, errors.ErrUnsupported }

// Volumes gives all volumes, ordered by name.
func (p *Pool) Volumes() []Volume { return nil }

// Status reads the pool's state from the kernel (without committing the pool) and the registry.
func (p *Pool) Status(ctx context.Context) (Status, error) { return Status{}, errors.ErrUnsupported }

// Watch calls notify after each event of the kernel's pool, and at least every interval, until ctx ends. It returns ctx's error.
// (signature may be refined by the engine)

// Close gives back what Open took without touching volumes that are active: it releases the registry. The pool's kernel
// devices stay, so that mounted volumes live on; Open adopts them.
func (p *Pool) Close() error { return nil }

// Shutdown closes the pool and removes its kernel devices. It fails with ErrVolumeInUse while a volume is active.
func (p *Pool) Shutdown(ctx context.Context) error { return errors.ErrUnsupported }
