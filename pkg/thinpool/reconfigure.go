package thinpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// Reconfigure applies what may change while the pool is open: MinFreePercent, OverprovisionMilli, ErrorIfNoSpace,
// DiscardPassdown, and a source with more space, which may be a larger Loopback.Size, further Devices behind those that the
// pool has, or devices that have themselves become larger. Anything else is ErrSourceChanged. Volumes' I/O is held back
// for moments in which the kernel changes its tables, if it must.
//
// New space that cannot be taken in is ErrNotGrown, with the reason; all else is applied, and the pool is as it was. It is
// tried again by later calls, with the same configuration at most once a minute; between, the same error is returned.
// With nothing new a call costs a few system calls for each device. One call is served at a time.
func (p *Pool) Reconfigure(ctx context.Context, config Config) error {
	if err := p.begin(); err != nil {
		return p.wrap("reconfigure", "", err)
	}
	defer p.work.Done()
	return p.wrap("reconfigure", "", p.reconfigure(ctx, config))
}

// Grow takes in now what the source offers beyond the pool, as Reconfigure with the configuration that the pool has, but at
// once.
func (p *Pool) Grow(ctx context.Context) error {
	if err := p.begin(); err != nil {
		return p.wrap("grow", "", err)
	}
	defer p.work.Done()
	done, err := p.growth.begin(ctx)
	if err != nil {
		return p.wrap("grow", "", err)
	}
	defer done()
	p.mutex.Lock()
	config := p.config
	p.mutex.Unlock()
	p.growth.tried = time.Time{}
	return p.wrap("grow", "", p.grow(ctx, config))
}

func (p *Pool) reconfigure(ctx context.Context, config Config) error {
	if err := config.validate(); err != nil {
		return err
	}
	done, err := p.growth.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	p.mutex.Lock()
	old := p.config
	p.mutex.Unlock()
	switch {
	case config.Name != old.Name:
		return fmt.Errorf("%w: name is %q, the pool is %q", ErrSourceChanged, config.Name, old.Name)
	case config.BlockSize != old.BlockSize:
		return fmt.Errorf("%w: blockSize is %d, the pool was made with %d", ErrSourceChanged, config.BlockSize, old.BlockSize)
	}
	if err := p.follows(config.Source, old.Source); err != nil {
		return err
	}
	// The table of a pool that was handed over is its owner's, who also makes it grow.
	if p.handed == nil {
		growErr := p.grow(ctx, config)
		if growErr != nil && !errors.Is(growErr, ErrNotGrown) {
			return growErr
		}
		err = errors.Join(growErr, p.applyPolicy(ctx, policyOf(config, p.dataLength(), p.label.BlockSectors)))
		if err != nil && !errors.Is(err, ErrNotGrown) {
			return err
		}
	}
	p.mutex.Lock()
	p.config = config
	p.mutex.Unlock()
	return err
}

// follows checks that a source names the pool's devices, and at most more behind them, or more of the file.
func (p *Pool) follows(source, old Source) error {
	changed := fmt.Errorf("%w: source is not the one that the pool was opened with", ErrSourceChanged)
	if source.Loopback != nil && old.Loopback != nil {
		if has := p.label.Devices[0].Sectors.Bytes(); source.Loopback.Size < has {
			return fmt.Errorf("%w: source.loopback.size is %d bytes, the pool has %d, and cannot shrink", ErrSourceChanged, source.Loopback.Size, has)
		}
		if source.Loopback.Path != old.Loopback.Path {
			return changed
		}
		return nil
	}
	if len(old.Devices) > 0 {
		n := len(p.label.Devices)
		if len(source.Devices) < n || !slices.Equal(source.Devices[:n], old.Devices[:n]) {
			return changed
		}
		return nil
	}
	if !source.same(old) {
		return changed
	}
	return nil
}

// dataLength is the size of the pool's data device.
func (p *Pool) dataLength() devicemapper.Sectors {
	return devicemapper.SectorsOf(p.label.size(areaData))
}

// applyPolicy reloads the thin-pool table if it says otherwise than the policy, or if the devices below it have become
// longer. Where it cannot become longer it stays as it was, and the error is ErrNotGrown.
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
	grows, err := p.poolGrows(ctx, table)
	if err != nil {
		return err
	}
	length := table[0].Length
	if grows {
		length = p.dataLength()
	} else if (policy{pool.ErrorIfNoSpace, pool.NoDiscardPassdown, pool.LowWaterBlocks}) == want {
		return nil
	}
	err = p.stack.swap(ctx, p.device, poolTable(pool.Metadata, pool.Data, length, pool.BlockSectors, want), table, failPoolReload)
	if err == nil && grows {
		err = p.checkGrown(ctx)
	}
	if err != nil && grows {
		err = fmt.Errorf("%w: %w", ErrNotGrown, err)
	}
	return err
}
