package thinpool

import (
	"context"
	"errors"
	"os"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// deletionSlice is how many mapped pool blocks are given back at once, at most. The pool's other volumes wait meanwhile: the
// kernel unmaps under the lock of the pool's metadata, and passes discards down in front of their I/O. Tests lower it.
var deletionSlice int64 = 1024

// Nobody knows beforehand what a slice costs: blocks that lie scattered in the pool, each with a count in another block of
// the metadata, take many times as long as a run. So a deletion begins with firstSlice blocks. A slice that takes longer than
// slowSlice is followed by one of half as many, down to smallestSlice; one that takes less than a quarter of it, by twice as many.
const (
	firstSlice    = 128
	smallestSlice = 32
	slowSlice     = 8 * time.Millisecond
)

// errLarge: the thin device holds more than deletionSlice.
var errLarge = errors.New("holds more blocks than one slice")

// giveBack deletes a thin device and with it the blocks that it shares with none. The kernel's delete message walks all
// mappings under the lock of the pool's metadata, about 0.3 µs each, and sends no discard to the devices below. So blocks
// are discarded first, slice by slice: it unmaps them, and where the pool passes discards down the devices below learn of
// it. If onlySmall is set, a device of more than one slice is left as it is: errLarge.
//
// The thin device must have no user. It is not active when giveBack returns, whatever the outcome.
func (p *Pool) giveBack(ctx context.Context, d *deletion, onlySmall bool) error {
	if err := p.removeDeleted(ctx, d.thin); err != nil {
		return err
	}
	status, err := p.healthy(ctx)
	if err != nil {
		return err
	}
	passdown := status.Discards == devicemapper.DiscardPassdown
	if status.Discards != devicemapper.DiscardIgnore && (passdown || d.size > p.firstSlice()) {
		if err := p.unmap(ctx, d, passdown, onlySmall); err != nil {
			return err
		}
		if _, err := p.healthy(ctx); err != nil {
			return err
		}
	}
	reached(failDeleteUnmapped)
	if _, err := p.pace.do(ctx, func() error { return p.deleteThin(ctx, d.thin) }); err != nil {
		return err
	}
	if d.volume == "" {
		reached(failBaseDeleted)
	} else {
		reached(failDeleteThin)
	}
	return nil
}

// firstSlice is the length of a deletion's first slice, in bytes.
func (p *Pool) firstSlice() int64 {
	return min(firstSlice, deletionSlice) * p.label.BlockSectors.Bytes()
}

// unmap activates the thin device under a name of the engine's own, and discards slice by slice what may be discarded, or as
// much of it that one slice is left where the devices below need not be told.
func (p *Pool) unmap(ctx context.Context, d *deletion, passdown, onlySmall bool) (err error) {
	p.reload.RLock()
	device, err := p.dm.Activate(ctx, p.label.PoolID.baseName(d.thin), p.label.PoolID.thinUUID(d.thin), p.thinTable(d.thin, d.size))
	p.reload.RUnlock()
	if errors.Is(err, devicemapper.ErrThinNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.removeThin(context.WithoutCancel(ctx), d.thin)) }()
	reached(failDeleteActive)
	mapped, end, err := p.lookAtDeleted(ctx, device, d)
	if err != nil || mapped == 0 {
		return err
	}
	block := p.label.BlockSectors.Bytes()
	if onlySmall && mapped > deletionSlice*block {
		return errLarge
	}
	extents := []extent{{0, end}}
	if passdown {
		extents, err = p.ownExtents(ctx, d.thin)
	}
	if err != nil {
		return err
	}
	file, err := os.OpenFile(device.Path(), os.O_RDWR|os.O_EXCL, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for length := p.firstSlice(); len(extents) > 0 && (passdown || mapped > length); {
		var slice []extent
		slice, extents = cutExtents(extents, length)
		var refused error
		took, err := p.pace.do(ctx, func() error { refused = discardExtents(file, slice); return nil })
		if err != nil {
			return err
		}
		if refused != nil {
			// If the pool is well all the same, the delete message has to do it.
			klog.FromContext(ctx).Error(refused, "Discarding the blocks of a deleted thin device failed", "pool", p.label.PoolName, "volume", d.volume, "thinID", d.thin)
			return nil
		}
		reached(failDeleteSlice)
		length = nextSlice(length, took, block)
		if mapped, _, err = p.lookAtDeleted(ctx, device, d); err != nil {
			return err
		}
	}
	return nil
}

// lookAtDeleted asks how many bytes an active thin device maps, notes it, and says where the last of them ends.
func (p *Pool) lookAtDeleted(ctx context.Context, device devicemapper.Device, d *deletion) (mapped, end int64, err error) {
	status, err := p.thinStatus(ctx, device, d.thin)
	if err != nil {
		return 0, 0, err
	}
	mapped, end = status.MappedSectors.Bytes(), min(d.size, status.MappedEnd.Bytes())
	p.mutex.Lock()
	d.mapped = mapped
	p.mutex.Unlock()
	return mapped, end, nil
}

// nextSlice is the length of the slice that follows one which took so long, in bytes.
func nextSlice(length int64, took time.Duration, block int64) int64 {
	switch {
	case took > slowSlice:
		return max(length/2/block, min(smallestSlice, deletionSlice)) * block
	case took < slowSlice/4:
		return min(2*length, deletionSlice*block)
	}
	return length
}
