package thinpool

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
)

// A power cut while the kernel makes a metadata snapshot can leave a superblock that names a snapshot which was never
// committed (thinmetadata.HeldRootCommitted). To release that one with a message destroys the pool: the kernel takes from
// the live trees references that the snapshot never had, frees their blocks and gives them out anew. One while the kernel
// releases a snapshot can leave its references without its name, and blocks that nobody gives back.

// errTornSnapshot: the superblock names a metadata snapshot that was never committed.
var errTornSnapshot = errors.New("its superblock names a metadata snapshot that was never committed, which a power cut leaves: releasing it would destroy the pool")

// settleTornSnapshot takes such a snapshot out of the superblock, before the kernel reads it, and brings one back whose release
// was cut; recovery releases it. A pool that is active has been read already.
func (p *Pool) settleTornSnapshot(ctx context.Context) error {
	old, settled, err := thinmetadata.SettleHeldRoot(ctx, p.metadataPath)
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil
	case errors.Is(err, thinmetadata.ErrDamaged):
		return nil // said by whoever has to read the metadata next
	case err != nil:
		return fmt.Errorf("settle the metadata snapshot that a power cut has left: %w", err)
	}
	if old != settled {
		klog.FromContext(ctx).Info("Settled a metadata snapshot that was cut while it was made or released", "pool", p.label.PoolName, "heldRoot", old, "settledHeldRoot", settled)
	}
	return nil
}

// refuseTornSnapshot is an error where the metadata snapshot that a pool's metadata names must not be released.
func refuseTornSnapshot(metadataPath string) error {
	committed, err := thinmetadata.HeldRootCommitted(metadataPath)
	if errors.Is(err, thinmetadata.ErrDamaged) {
		err = fmt.Errorf("%w: %w", ErrPoolDamaged, err)
	}
	if err == nil && !committed {
		err = fmt.Errorf("%w: %w; it was left alone: deactivate the pool, and rebuild its metadata with thin_repair (lvconvert --repair)", ErrPoolDamaged, errTornSnapshot)
	}
	return err
}
