package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

const (
	// probePatience is how long a device may take to give one block before it counts as one that does not answer.
	probePatience = 5 * time.Second
	// probeSize is what is read of each device, in bytes: a multiple of every disk's logical block.
	probeSize = 4096
)

// probe is a place that is read to see whether a device below the pool answers.
type probe struct {
	what   string // lies there: "metadata", "data", "registry"
	device string // as people know it
	node   string // that is read: the kernel's device on top, as a path may lead to another disk by now
	offset int64  // bytes
}

// probing is what is known of the devices below the pool. Fields are guarded by Pool.mutex.
type probing struct {
	done  chan struct{} // of the reading that is under way; nil: none
	last  time.Time     // when the last one began
	fault string        // what it found
}

// lookAtDevices reads a block of each device below the pool, unless that was done within interval. The kernel's pool says
// nothing of a data device that has gone, and nothing of any before it is written to. One reading is under way at a time: a
// device that does not answer keeps it, and [Pool.Close], waiting.
func (p *Pool) lookAtDevices(ctx context.Context, interval time.Duration) {
	p.mutex.Lock()
	done := p.probing.done
	if done == nil && time.Since(p.probing.last) < interval {
		p.mutex.Unlock()
		return
	}
	if done == nil {
		done = make(chan struct{})
		p.probing.done, p.probing.last = done, time.Now()
		p.work.Add(1) // Watch is counted, so the pool is open
		go func() {
			defer p.work.Done()
			p.probeAll(context.WithoutCancel(ctx), done)
		}()
	}
	p.mutex.Unlock()
	patience := time.NewTimer(probePatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-ctx.Done():
	case <-patience.C:
		p.mutex.Lock()
		if p.probing.done == done {
			p.setDeviceFault(ctx, "a device below the pool does not answer")
		}
		p.mutex.Unlock()
	}
}

func (p *Pool) probeAll(ctx context.Context, done chan struct{}) {
	var faults []string
	probes, err := p.probes(ctx)
	if err != nil {
		faults = append(faults, fmt.Sprintf("the devices below the pool cannot be told: %v", err))
	}
	for _, place := range probes {
		if err := place.read(); err != nil {
			faults = append(faults, fmt.Sprintf("the %s on %s cannot be read: %v", place.what, place.device, err))
		}
	}
	p.mutex.Lock()
	p.probing.done = nil
	p.setDeviceFault(ctx, strings.Join(faults, "; "))
	p.mutex.Unlock()
	close(done)
}

// setDeviceFault notes what was found, and says it if it is new. The mutex must be held.
func (p *Pool) setDeviceFault(ctx context.Context, fault string) {
	if fault != p.probing.fault {
		klog.FromContext(ctx).Info("Devices below the thin pool", "pool", p.label.PoolName, "before", p.probing.fault, "now", fault)
	}
	p.probing.fault = fault
}

// probes are one place for the metadata, one for the registry where it is not in the pool itself, and one for the data of
// each device.
func (p *Pool) probes(ctx context.Context) ([]probe, error) {
	p.mutex.Lock()
	areas, paths := p.label.Areas, p.paths
	_, metadataName := p.devicesBelow()
	p.mutex.Unlock()
	places := []probe{{what: "metadata", device: metadataName, node: p.metadataPath}}
	if p.handed != nil {
		data, err := blockdevice.ByNumber(blockdevice.Number(p.handed.target.Data))
		return append(places, probe{what: "data", device: p.handed.dataName, node: data.Node}), err
	}
	var offset int64
	for _, part := range []struct {
		name string
		kind areaKind
	}{{partRegistry, areaRegistry}, {partData, areaData}} {
		device, err := p.dm.Info(ctx, p.label.PoolID.partUUID(part.name))
		if err != nil {
			return places, err
		}
		offset = 0
		for _, a := range areas {
			if a.Kind == part.kind && a.Device < len(paths) {
				places = append(places, probe{what: string(part.kind), device: paths[a.Device], node: device.Path(), offset: offset})
				offset += a.Length.Bytes()
			}
		}
	}
	return places, nil
}

// read reads past the page cache.
func (p probe) read() error {
	file, err := os.OpenFile(p.node, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return plain(err)
	}
	raw := make([]byte, 2*probeSize)
	shift := -int(uintptr(unsafe.Pointer(&raw[0]))) & (probeSize - 1) //nolint:gosec // an address is looked at, none is made
	_, err = file.ReadAt(raw[shift:shift+probeSize], p.offset)
	return plain(errors.Join(err, file.Close()))
}

// plain leaves the path out of an error: it is a kernel device's, and the probe names the one that people know.
func plain(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// faultOf says in one sentence what keeps the pool from serving its volumes. The mutex must be held.
func (p *Pool) faultOf(kernel devicemapper.ThinPoolStatus) string {
	var faults []string
	if !kernel.Healthy() {
		_, metadata := p.devicesBelow()
		text := fmt.Sprintf("the kernel holds the pool in mode %s", modes[kernel.Mode])
		switch {
		case kernel.NeedsCheck:
			text += " and demands a check of its metadata (thin_check)"
		case kernel.TotalMetadata > 0 && kernel.FreeMetadata() == 0:
			text += ", as its metadata space is full"
		}
		faults = append(faults, fmt.Sprintf("%s; the metadata is on %s", text, metadata))
	}
	if p.metadataFault != "" {
		faults = append(faults, p.metadataFaultText())
	}
	if p.probing.fault != "" {
		faults = append(faults, p.probing.fault)
	}
	return strings.Join(faults, "; ")
}

// registryName is what people know the registry's device by. The mutex must be held.
func (p *Pool) registryName() string {
	for _, a := range p.label.Areas {
		if a.Kind == areaRegistry && a.Device < len(p.paths) {
			return p.paths[a.Device]
		}
	}
	return p.paths[0]
}
