package thinpool

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// growTimeout bounds a volume's growth: a commit and the reload of a table.
const growTimeout = time.Minute

// GrowVolume makes a volume larger: size in bytes, rounded up to whole pool blocks. It is durable when it returns, and the
// volume's device has the size if it is active; the file system on it is grown by whoever mounts it (filesystem.Grow).
// Idempotent: a volume that has the size is given as it is. A smaller size is ErrShrink. The growth is admitted like a new
// volume of the size that is added.
//
// After an error the volume may have either size; a repetition finishes.
func (p *Pool) GrowVolume(ctx context.Context, name string, size int64) (Volume, error) {
	if err := p.begin(); err != nil {
		return Volume{}, p.wrap("grow", name, err)
	}
	defer p.work.Done()
	v, err := p.growVolume(ctx, name, size)
	return v, p.wrap("grow", name, err)
}

func (p *Pool) growVolume(ctx context.Context, name string, size int64) (Volume, error) {
	if largest := largestVolume(p.label.BlockSectors.Bytes()); size <= 0 || size > largest {
		return Volume{}, &FieldError{Field: "size", Value: strconv.FormatInt(size, 10), Allowed: fmt.Sprintf("1 to %d bytes", largest)}
	}
	size = roundUp(size, p.label.BlockSectors.Bytes())
	v, unlock, err := p.lockVolume(ctx, name)
	if err != nil {
		return Volume{}, err
	}
	return uninterrupted(ctx, &p.work, growTimeout, func(ctx context.Context) (Volume, error) {
		defer unlock()
		switch {
		case v.state == volumeLost:
			return Volume{}, v.lost()
		case size < v.record.Size:
			return Volume{}, fmt.Errorf("%w: it has %d bytes, %d were asked for", ErrShrink, v.record.Size, size)
		case size > v.record.Size:
			if err := p.recordGrowth(ctx, name, v, size); err != nil {
				return Volume{}, err
			}
		}
		return v.public(name), p.fitDevice(ctx, v.record)
	})
}

// recordGrowth makes the new size durable. That is all that a growth needs: the pool's metadata has no sizes, and a device
// that is shorter than its record is brought up to it whenever it is looked at.
func (p *Pool) recordGrowth(ctx context.Context, name string, v *volume, size int64) error {
	before, err := p.reserveGrowth(ctx, v, size)
	if errors.Is(err, ErrNoSpace) && p.giveUpBases(ctx) {
		before, err = p.reserveGrowth(ctx, v, size)
	}
	if err != nil {
		return err
	}
	err = p.registry.committer.commit(ctx, 0, write{bucketVolumes, []byte(name), encodeRecord(v.record)})
	if err == nil {
		reached(failGrowDurable)
		return nil
	}
	// If it may have been written after all, the larger size stands, as more is promised then than not.
	if ctx.Err() == nil && p.registry.committer.broken() == nil {
		p.mutex.Lock()
		v.record = before
		p.promised -= size - before.Size
		p.mutex.Unlock()
	}
	return fmt.Errorf("record the growth of %s: %w", name, err)
}

// reserveGrowth promises the space that a volume is to have more, and gives its record as it was before.
func (p *Pool) reserveGrowth(ctx context.Context, v *volume, size int64) (before volumeRecord, err error) {
	if err := p.registry.committer.room(); err != nil {
		return before, err
	}
	if err := p.lookAtTable(ctx); err != nil {
		return before, err
	}
	status, err := p.healthy(ctx)
	if err != nil {
		return before, err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	before = v.record
	if err := p.hasRoom(status, size-before.Size); err != nil {
		return before, err
	}
	if v.record.CreatedSize == 0 {
		v.record.CreatedSize = before.Size
	}
	v.record.Size = size
	p.promised += size - before.Size
	return before, nil
}

// fitDevice brings the device of a volume, if it is active, up to the size in its record. Its I/O waits for the moment of the
// change, in which nothing is written out and no file system is frozen.
func (p *Pool) fitDevice(ctx context.Context, r volumeRecord) error {
	info, err := p.dm.Info(ctx, p.label.PoolID.thinUUID(r.ThinID))
	if errors.Is(err, devicemapper.ErrNotExist) || err == nil && !info.LiveTable {
		return nil
	}
	if err != nil {
		return err
	}
	table, err := p.dm.Table(ctx, info.Device, devicemapper.TableOptions{})
	if err != nil {
		return err
	}
	want := p.thinTable(r.ThinID, r.Size)
	if len(table) != 1 || table[0].Target != want[0].Target || table[0].Length >= want[0].Length {
		return nil // what is wrong here Activate tells
	}
	klog.FromContext(ctx).V(4).Info("Growing a volume's device", "pool", p.label.PoolName, "device", info.Name, "size", r.Size)
	return p.reloadThin(ctx, info.Device, want)
}

func (p *Pool) reloadThin(ctx context.Context, device devicemapper.Device, table devicemapper.Table) error {
	p.reload.RLock()
	defer p.reload.RUnlock()
	if err := p.dm.Load(ctx, device, table, devicemapper.LoadOptions{}); err != nil {
		return err
	}
	reached(failGrowLoaded)
	// What waits for room in a full pool need not come to its end: it is done with the new table.
	err := p.dm.Suspend(ctx, device, devicemapper.SuspendOptions{SkipLockFS: true, NoFlush: true})
	if err != nil {
		return errors.Join(err, p.dm.Clear(context.WithoutCancel(ctx), device))
	}
	reached(failGrowHeld)
	if err := p.release(ctx, device); err != nil {
		return err
	}
	reached(failGrowDone)
	return nil
}
