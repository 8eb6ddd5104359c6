package thinpool

import (
	"context"
	"errors"
	"os"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// deletionSlice is how many mapped pool blocks are given back at once. The pool's other volumes wait meanwhile: the kernel
// unmaps under the lock of the pool's metadata, and passes discards down in front of their I/O. Tests lower it.
var deletionSlice int64 = 1024

// A slice that takes longer than slowSlice is followed by one of half the blocks, down to smallestSlice.
const (
	slowSlice     = 20 * time.Millisecond
	smallestSlice = 32
)

// errLarge: the thin device holds more than one slice.
var errLarge = errors.New("holds more blocks than one slice")

// giveBack deletes a thin device and with it the blocks that it shares with none. The kernel's delete message walks all
// mappings under the lock of the pool's metadata, about 0.3 µs each, and sends no discard to the devices below. So the
// blocks are discarded first, slice by slice: it unmaps them, and where the pool passes discards down the devices below
// learn of it. If onlySmall is set, a device of more than one slice is left as it is: errLarge.
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
	if status.Discards != devicemapper.DiscardIgnore && (passdown || d.size > p.sliceBytes()) {
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

func (p *Pool) sliceBytes() int64 { return deletionSlice * p.label.BlockSectors.Bytes() }

// unmap activates the thin device under a name of the engine's own, and discards slice by slice until what is left may be
// deleted at once: one slice, or nothing where the devices below are to be told.
func (p *Pool) unmap(ctx context.Context, d *deletion, all, onlySmall bool) (err error) {
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
	file, err := os.OpenFile(device.Path(), os.O_RDWR|os.O_EXCL, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	block := p.label.BlockSectors.Bytes()
	length := deletionSlice * block
	for at := int64(0); ; {
		left, err := p.dm.ThinStatus(ctx, device)
		if err != nil {
			return err
		}
		mapped, end := left.MappedSectors.Bytes(), min(d.size, left.MappedEnd.Bytes())
		p.mutex.Lock()
		d.mapped = mapped
		p.mutex.Unlock()
		last := mapped <= p.sliceBytes()
		switch {
		case onlySmall && !last:
			return errLarge
		case mapped == 0 || last && !all:
			return nil
		case at >= end:
			return nil // what is mapped was refused a discard; the delete message takes it
		case last && length == p.sliceBytes():
			// However far apart they lie, they are no more than a slice.
			length = end - at
		}
		part := min(length, end-at)
		var refused error
		took, err := p.pace.do(ctx, func() error { refused = blockdevice.Discard(file, at, part); return nil })
		if err != nil {
			return err
		}
		if refused != nil {
			// If the pool is well all the same, the delete message has to do it.
			klog.FromContext(ctx).Error(refused, "Discarding the blocks of a deleted thin device failed", "pool", p.label.PoolName, "volume", d.volume, "thinID", d.thin)
			return nil
		}
		reached(failDeleteSlice)
		at += part
		length = nextSlice(min(length, p.sliceBytes()), took, block)
	}
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
