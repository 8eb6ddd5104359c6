package thinpool

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// discardSlice is how many pool blocks are discarded at once. The pool's other volumes wait while the kernel unmaps a
// slice, so it is short; more slices cost little.
const discardSlice = 1024

// discard gives a thin device's blocks back to the devices below before the device is deleted, which the kernel's delete
// message does not do. Blocks that snapshots share stay as they are: the kernel looks. The thin device must not be active,
// and is not when discard returns, whatever the outcome. A pool that passes no discards down has nothing to do here.
func (p *Pool) discard(ctx context.Context, thin uint32, size int64) (err error) {
	status, err := p.dm.ThinPoolStatus(ctx, p.device)
	if err != nil || status.Discards != devicemapper.DiscardPassdown || !status.Healthy() {
		return err
	}
	p.reload.RLock()
	device, err := p.dm.Activate(ctx, p.label.PoolID.baseName(thin), p.label.PoolID.thinUUID(thin), p.thinTable(thin, size))
	p.reload.RUnlock()
	if errors.Is(err, devicemapper.ErrThinNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stack.remove(context.WithoutCancel(ctx), device)) }()
	mapped, err := p.dm.ThinStatus(ctx, device)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(device.Path(), os.O_RDWR|os.O_EXCL, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return discardSlices(ctx, file, min(size, mapped.MappedEnd.Bytes()), discardSlice*p.label.BlockSectors.Bytes())
}

// discardSlices discards the first length bytes of a device slice by slice, as long as ctx lasts. A device below that
// cannot discard after all has nothing to be told.
func discardSlices(ctx context.Context, file *os.File, length, slice int64) error {
	for at := int64(0); at < length; at += slice {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := blockdevice.Discard(file, at, min(slice, length-at))
		if errors.Is(err, unix.EOPNOTSUPP) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
