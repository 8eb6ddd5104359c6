package thinpool

import (
	"context"
	"errors"
	"fmt"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// Reconfigure applies what may change while the pool is open: MinFreePercent, OverprovisionMilli, ErrorIfNoSpace,
// DiscardPassdown. Anything else is ErrSourceChanged. Volumes' I/O is held back for the moment in which the kernel changes
// its table, if it must.
func (p *Pool) Reconfigure(ctx context.Context, config Config) error {
	if err := p.begin(); err != nil {
		return p.wrap("reconfigure", "", err)
	}
	defer p.work.Done()
	return p.wrap("reconfigure", "", p.reconfigure(ctx, config))
}

func (p *Pool) reconfigure(ctx context.Context, config Config) error {
	if err := config.validate(); err != nil {
		return err
	}
	p.mutex.Lock()
	old := p.config
	p.mutex.Unlock()
	switch {
	case config.Name != old.Name:
		return fmt.Errorf("%w: name is %q, the pool is %q", ErrSourceChanged, config.Name, old.Name)
	case config.BlockSize != old.BlockSize:
		return fmt.Errorf("%w: blockSize is %d, the pool was made with %d", ErrSourceChanged, config.BlockSize, old.BlockSize)
	case !config.Source.same(old.Source):
		return fmt.Errorf("%w: source is not the one that the pool was opened with", ErrSourceChanged)
	}
	// The table of a pool that was handed over is its owner's.
	if p.handed == nil {
		if err := p.applyPolicy(ctx, policyOf(config, p.dataLength(), p.label.BlockSectors)); err != nil {
			return err
		}
	}
	p.mutex.Lock()
	p.config = config
	p.mutex.Unlock()
	return nil
}

// dataLength is the size of the pool's data device.
func (p *Pool) dataLength() devicemapper.Sectors {
	var length devicemapper.Sectors
	for _, a := range p.label.Areas {
		if a.Kind == areaData {
			length += a.Length
		}
	}
	return length
}

// applyPolicy reloads the thin-pool table if it says otherwise than the policy.
func (p *Pool) applyPolicy(ctx context.Context, want policy) (err error) {
	p.reload.Lock()
	defer p.reload.Unlock()
	table, err := p.dm.Table(ctx, p.device, devicemapper.TableOptions{})
	if err != nil {
		return err
	}
	pool, ok := table[0].Target.(devicemapper.ThinPool)
	if !ok {
		return nil // a failed pool prints no table; it is left as it is
	}
	if (policy{pool.ErrorIfNoSpace, pool.NoDiscardPassdown, pool.LowWaterBlocks}) == want {
		return nil
	}
	table = poolTable(pool.Metadata, pool.Data, table[0].Length, pool.BlockSectors, want)
	if err := p.dm.Load(ctx, p.device, table, devicemapper.LoadOptions{}); err != nil {
		return err
	}
	// No file system lies on the pool itself, and what is queued on a full one need not drain.
	if err := p.dm.Suspend(ctx, p.device, devicemapper.SuspendOptions{SkipLockFS: true, NoFlush: true}); err != nil {
		return errors.Join(err, p.dm.Clear(ctx, p.device))
	}
	// Whatever happens now, the pool must not stay suspended.
	resume, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	return p.dm.Resume(resume, p.device)
}
