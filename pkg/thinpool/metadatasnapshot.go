package thinpool

import (
	"context"
	"errors"
	"fmt"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
)

// heldMetadata is the pool's metadata as it was at one moment, to be read while the pool goes on.
type heldMetadata struct {
	*thinmetadata.Device
	superblock thinmetadata.Superblock
	dataBlocks uint64 // of the pool
}

// withMetadata reads the pool's metadata through a metadata snapshot, which the kernel gives to one reader at a time: others
// wait here. It is released whatever becomes of the reading. While it is held, changes of the metadata cost more and blocks
// that are given back stay allocated; reading takes a fraction of a microsecond a mapping.
//
// ErrMetadataHeld: somebody outside of csi-dm holds the snapshot. ErrPoolFailed: the pool takes no messages.
func (p *Pool) withMetadata(ctx context.Context, read func(held heldMetadata) error) (err error) {
	unlock, err := p.metadataReader.lock(ctx, "")
	if err != nil {
		return err
	}
	defer unlock()
	if err := p.reserveMetadata(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.releaseMetadata(ctx)) }()
	status, err := p.healthy(ctx)
	if err != nil {
		return err
	}
	if status.HeldMetadataRoot == 0 {
		return fmt.Errorf("%w: the metadata snapshot that was made is not there", ErrMetadataHeld)
	}
	device, err := thinmetadata.Open(p.metadataPath)
	if err != nil {
		return err
	}
	defer func() { _ = device.Close() }()
	held := heldMetadata{Device: device, dataBlocks: uint64(status.TotalData)}
	if held.superblock, err = device.ReadSuperblock(uint64(status.HeldMetadataRoot)); err == nil {
		err = read(held)
	}
	if err != nil {
		p.noteMetadata(ctx, &metadataReadError{err})
	}
	if errors.Is(err, thinmetadata.ErrDamaged) {
		err = fmt.Errorf("%w: %w", ErrPoolDamaged, err)
	}
	return err
}

// reserveMetadata has the kernel make the snapshot. One that this pool has left is released first, one that is somebody
// else's is not.
func (p *Pool) reserveMetadata(ctx context.Context) error {
	p.reload.RLock()
	defer p.reload.RUnlock()
	if p.metadataLeft {
		if err := refuseTornSnapshot(p.metadataPath); err != nil {
			return err
		}
	}
	err := p.dm.ReserveMetadataSnapshot(ctx, p.device)
	if errors.Is(err, devicemapper.ErrMetadataSnapshotHeld) && p.metadataLeft {
		if err := p.dm.ReleaseMetadataSnapshot(ctx, p.device); err != nil && !errors.Is(err, devicemapper.ErrNoMetadataSnapshot) {
			return fmt.Errorf("release a metadata snapshot that was left: %w", p.messageFailure(ctx, err))
		}
		err = p.dm.ReserveMetadataSnapshot(ctx, p.device)
	}
	if errors.Is(err, devicemapper.ErrMetadataSnapshotHeld) {
		return fmt.Errorf("%w: %w", ErrMetadataHeld, err)
	}
	if err == nil {
		p.metadataLeft = true // until it is released
	}
	return p.messageFailure(ctx, err)
}

func (p *Pool) releaseMetadata(ctx context.Context) error {
	p.reload.RLock()
	defer p.reload.RUnlock()
	err := p.dm.ReleaseMetadataSnapshot(context.WithoutCancel(ctx), p.device)
	if errors.Is(err, devicemapper.ErrNoMetadataSnapshot) {
		err = nil // somebody else has released it
	}
	p.metadataLeft = err != nil
	return p.messageFailure(ctx, err)
}
