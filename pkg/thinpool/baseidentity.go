package thinpool

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// identifyBase looks, once after Open, whether a base still carries the file system that was made on it: a volume that began
// as something else would be served as if all were well. A base that was exchanged or damaged is ErrBaseDamaged, and stays
// so; a pool that has failed is ErrPoolFailed, as the base cannot be read then and nothing is known about it.
func (p *Pool) identifyBase(ctx context.Context, b *base) error {
	identified := func() bool {
		p.mutex.Lock()
		defer p.mutex.Unlock()
		return b.identified
	}
	if identified() {
		return nil
	}
	// No volume has such a name.
	unlock, err := p.names.lock(ctx, fmt.Sprintf("base %d", b.record.ThinID))
	if err != nil {
		return err
	}
	defer unlock()
	if identified() {
		return nil
	}
	if err := p.compareBase(ctx, b.record); err != nil {
		// What is wrong with the pool explains what is wrong with the base.
		if _, failure := p.healthy(ctx); failure != nil {
			return failure
		}
		return err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	b.identified = true
	return nil
}

// compareBase compares the file system on a base with its record.
func (p *Pool) compareBase(ctx context.Context, r baseRecord) error {
	found, err := p.readBase(ctx, r)
	switch {
	case errors.Is(err, devicemapper.ErrThinNotExist):
		return fmt.Errorf("%w: the pool's metadata holds no thin device %d", ErrBaseDamaged, r.ThinID)
	case errors.Is(err, filesystem.ErrNoFileSystem):
		return fmt.Errorf("%w: thin device %d, made as %s with UUID %s: damaged: %w", ErrBaseDamaged, r.ThinID, r.Format.Type, r.UUID, err)
	case errors.As(err, new(*os.PathError)):
		// It is not the base that is wrong, but what the pool stands on.
		return fmt.Errorf("%w: a base cannot be read: %w", ErrPoolFailed, err)
	case err != nil:
		return err
	}
	uuid := hex.EncodeToString(found.UUID[:])
	if found.Type != r.Format.Type || uuid != r.UUID {
		return fmt.Errorf("%w: thin device %d was made as %s with UUID %s and carries %s with UUID %s: exchanged", ErrBaseDamaged, r.ThinID, r.Format.Type, r.UUID, found.Type, uuid)
	}
	if found.Size > r.Size || found.Size < r.Size-baseSlack {
		return fmt.Errorf("%w: thin device %d of %d bytes carries a file system of %d: damaged", ErrBaseDamaged, r.ThinID, r.Size, found.Size)
	}
	return nil
}

// readBase reads the superblock of a base, which is active for that moment under a name of the engine's own.
func (p *Pool) readBase(ctx context.Context, r baseRecord) (_ filesystem.Superblock, err error) {
	p.reload.RLock()
	device, err := p.dm.Activate(ctx, p.label.PoolID.baseName(r.ThinID), p.label.PoolID.thinUUID(r.ThinID), p.thinTable(r.ThinID, r.Size))
	p.reload.RUnlock()
	if err != nil {
		return filesystem.Superblock{}, err
	}
	defer func() { err = errors.Join(err, p.stack.remove(context.WithoutCancel(ctx), device)) }()
	file, err := os.Open(device.Path())
	if err != nil {
		return filesystem.Superblock{}, err
	}
	defer func() { _ = file.Close() }()
	return filesystem.ReadSuperblock(file)
}
