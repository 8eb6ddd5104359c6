package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// A pool grows online when its source offers more than its label knows of: a larger loop file, devices that have become
// larger, devices named behind those that it has. What becomes of the new space is layout_grow.go's matter. The steps:
//
//	the file is extended | added devices are claimed   nothing of the pool knows of it yet
//	labels are written, the first device's last        with that the pool has grown
//	the kernel's devices follow                        extend.go; where that was cut, the next Open goes on
//
// Data that is there is not touched by any of them.

// growthPause is how long the same offer is not tried again after it failed.
var growthPause = time.Minute

// growth is what a pool knows of its own growing. It belongs to who has the turn.
type growth struct {
	turn    chan struct{}               // holds a token while somebody reconfigures
	numbers []devicemapper.DeviceNumber // of the label's devices
	// behind: the kernel's devices may be shorter than the label says.
	behind bool
	// What was offered when it was tried last, when that was, and what came of it. To change failure takes Pool.mutex, too.
	offered offer
	tried   time.Time
	failure error
}

// offer is what a source could add to a pool: by its words, and by the sizes of its devices in bytes.
type offer struct {
	source Source
	sizes  []int64
}

// begin waits for the turn, or for ctx.
func (g *growth) begin(ctx context.Context) (done func(), err error) {
	select {
	case g.turn <- struct{}{}:
		return func() { <-g.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// grow takes in what the source offers, if it does offer something. Errors are ErrNotGrown.
func (p *Pool) grow(ctx context.Context, config Config) error {
	if p.handed != nil {
		return nil
	}
	g := &p.growth
	offered, more := p.offers(config.Source)
	if !more && !g.behind {
		p.setGrowthFailure(ctx, nil)
		return nil
	}
	if !g.tried.IsZero() && reflect.DeepEqual(offered, g.offered) && (g.failure == nil && !g.behind || time.Since(g.tried) < growthPause) {
		return g.failure
	}
	devices, err := openSource(ctx, config.Source)
	if err == nil {
		err = p.growOn(ctx, config, devices)
		_ = devices.close() // nothing is written any more: labels were flushed
	}
	p.tried(ctx, offered, err)
	return g.failure
}

// growAtOpen grows a pool that was just opened, on the devices that are still open. A failure is no reason not to serve
// its volumes.
func (p *Pool) growAtOpen(ctx context.Context, devices sourceDevices) {
	offered, more := p.offers(p.config.Source)
	if !more {
		return
	}
	p.tried(ctx, offered, p.growOn(ctx, p.config, devices))
}

func (p *Pool) tried(ctx context.Context, offered offer, err error) {
	p.growth.offered, p.growth.tried = offered, time.Now()
	if err != nil && !errors.Is(err, ErrNotGrown) {
		err = fmt.Errorf("%w: %w", ErrNotGrown, err)
	}
	p.setGrowthFailure(ctx, err)
}

// setGrowthFailure keeps what came of growing, and logs it unless it is the same as before.
func (p *Pool) setGrowthFailure(ctx context.Context, err error) {
	p.mutex.Lock()
	before := p.growth.failure
	p.growth.failure = err
	p.mutex.Unlock()
	if err != nil && (before == nil || before.Error() != err.Error()) {
		klog.FromContext(ctx).Error(err, "Thin pool goes on without what its source offers", "pool", p.label.PoolName)
	}
}

// offers looks at the source without opening anything.
func (p *Pool) offers(source Source) (offered offer, more bool) {
	offered.source = source
	more = len(source.paths()) > len(p.label.Devices) ||
		source.Loopback != nil && source.Loopback.Size > p.label.Devices[0].Sectors.Bytes()
	for i, number := range p.growth.numbers {
		// One that is gone is seen by others; it does not grow.
		size, _ := blockdevice.Size(blockdevice.Number(number))
		offered.sizes = append(offered.sizes, size)
		more = more || size > p.label.Devices[i].Sectors.Bytes()
	}
	return offered, more
}

// growOn takes in what is new on the devices of a source.
func (p *Pool) growOn(ctx context.Context, config Config, devices sourceDevices) (err error) {
	status, err := p.dm.ThinPoolStatus(ctx, p.device)
	if err == nil {
		err = growable(status)
	}
	if err == nil {
		err = p.recognize(config, devices)
	}
	if err == nil && config.Source.Loopback != nil {
		err = devices[0].growFile(*config.Source.Loopback)
	}
	if err != nil {
		return err
	}
	devices, claimed, refusal := devices.claimAdded(ctx, len(p.label.Devices), config.Source.Force)
	defer func() { err = errors.Join(err, claimed.release()) }()
	// The kernel's reserve counts as used.
	used := status.UsedMetadata - min(status.UsedMetadata, metadataReserve(status.TotalMetadata))
	grown, err := p.label.grown(devices.sizes(), used.Bytes())
	if err != nil {
		return err
	}
	if changed := !slices.Equal(grown.Areas, p.label.Areas); changed {
		err = errors.Join(p.relabel(ctx, grown, devices), claimed.release())
	} else if !p.growth.behind {
		return refusal
	}
	if err == nil {
		err = p.extend(ctx, config)
	}
	if err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Thin pool has grown", "pool", p.label.PoolName, "devices", len(p.label.Devices),
		"dataBytes", p.label.size(areaData), "metadataBytes", p.label.size(areaMetadata))
	return refusal
}

// recognize makes sure that the paths lead to the devices that the pool has.
func (p *Pool) recognize(config Config, devices sourceDevices) error {
	verdict, _, err := devices.match(config)
	if err != nil {
		return err
	}
	members := devices.members()
	if verdict != verdictReopen || devices[0].label.PoolID != p.label.PoolID || !slices.Equal(members.numbers(), p.growth.numbers) {
		return fmt.Errorf("%w: the paths of the source lead to other devices than those of the open pool", ErrSourceChanged)
	}
	return nil
}

// growFile makes the file below a loop device as large as the source says, and the loop device as large as the file.
func (d *sourceDevice) growFile(source Loopback) error {
	if d.Size < source.Size {
		file, err := os.OpenFile(source.Path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		info, err := file.Stat()
		if err == nil && info.Size() < source.Size {
			err = file.Truncate(source.Size)
		}
		if err == nil {
			err = file.Sync()
		}
		if err != nil {
			return fmt.Errorf("extend file: %w", err)
		}
		reached(failPoolFile)
	}
	size, err := blockdevice.RefreshLoop(d.file)
	if err == nil {
		d.Size = size
	}
	return err
}

// claimAdded gives the devices that the pool consists of from now on: the first known ones it has, and of those behind them
// the ones that are free for it, up to the first that is not, which is what refusal is about. The claim is on those added.
func (s sourceDevices) claimAdded(ctx context.Context, known int, force []string) (joined sourceDevices, added *claim, refusal error) {
	added = new(claim)
	for i := known; i < len(s); i++ {
		if err := s[i].joinable(i, s[0].label); err != nil {
			return s[:i], added, err
		}
		c, err := s[i:i+1].claim(ctx, force)
		if err != nil {
			return s[:i], added, err
		}
		added.add(c)
	}
	if len(s) > known {
		reached(failPoolClaimed)
	}
	return s, added, nil
}

// joinable is why a device cannot become device i of a pool. One that carries the pool's label as device i was to become so
// already, before that was cut.
func (d sourceDevice) joinable(i int, own label) error {
	switch {
	case d.file == nil:
		return d.err
	case d.err == nil && (d.label.PoolID != own.PoolID || d.label.Device != i):
		return fmt.Errorf("%w: %s: %s is device %d of pool %q (%s); to use it here, clear its first MiB",
			ErrForeignPool, d.field, d.Path, d.label.Device, d.label.PoolName, d.label.PoolID)
	case d.err != nil && !errors.Is(d.err, errNoLabel):
		return fmt.Errorf("%s: %s: %w", d.field, d.Path, d.err)
	}
	return nil
}

// relabel makes a grown layout the pool's.
func (p *Pool) relabel(ctx context.Context, grown label, devices sourceDevices) error {
	for _, device := range devices {
		grown.Generation = max(grown.Generation, device.label.Generation)
	}
	grown.Generation++
	// Should a write fail and another attempt follow, that one is newer.
	p.label.Generation = grown.Generation
	if err := devices.renewLabels(grown, failPoolLabels); err != nil {
		return err
	}
	p.label.Devices, p.label.Areas = grown.Devices, grown.Areas
	p.growth.numbers = devices.numbers()
	p.setPaths(devices)
	klog.FromContext(ctx).V(2).Info("Labels of a grown pool are written", "pool", p.label.PoolName, "generation", grown.Generation)
	reached(failPoolLabelled)
	return nil
}

// setPaths remembers the paths of the pool's devices.
func (p *Pool) setPaths(devices sourceDevices) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.paths = nil
	for _, device := range devices {
		p.paths = append(p.paths, device.Path)
	}
	if p.loopback {
		p.paths = []string{p.config.Source.Loopback.Path}
	}
}
