package thinpool

import (
	"context"
	"errors"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
)

// Usage is what a thin device, or several of a kind, hold of the pool's data, in bytes.
type Usage struct {
	// Mapped is what was ever written and not discarded since, in whole blocks of the pool.
	Mapped int64
	// Shared with other thin devices: a base, snapshots, clones.
	Shared int64
	// Exclusive is the rest: what deleting the thin device gives back. Deleting several that share with each other gives back
	// more than the sum.
	Exclusive int64
}

func (u Usage) add(o Usage) Usage {
	return Usage{u.Mapped + o.Mapped, u.Shared + o.Shared, u.Exclusive + o.Exclusive}
}

// PoolUsage is how a pool's data is divided, at one moment.
type PoolUsage struct {
	// Volumes by name.
	Volumes map[string]Usage
	// Bases, the formatted devices of which volumes are snapshots.
	Bases []BaseUsage
	// Deleting is the sum of what is deleted and whose blocks are not given back yet, Others that of all other thin devices:
	// those that are just being made, the registry's own in an adopted pool, and what the registry does not know.
	Deleting, Others Usage
	// SharedBytes is the space that more than one thin device holds, each block counted once.
	SharedBytes int64
}

// BaseUsage is what a base holds.
type BaseUsage struct {
	Format filesystem.Format
	Size   int64 // bytes
	Usage
}

// Usage reads from the pool's metadata what every volume holds, and what it holds alone. The kernel keeps no such figure:
// all mappings are read, through a metadata snapshot, while the pool goes on; a million takes less than a second.
// See thinmetadata.Device.Usage for what it costs. Calls queue: the kernel gives metadata to one reader at a time.
//
// Errors: ErrPoolFailed, ErrMetadataHeld, ErrPoolDamaged, the end of ctx.
func (p *Pool) Usage(ctx context.Context) (PoolUsage, error) {
	if err := p.begin(); err != nil {
		return PoolUsage{}, p.wrap("read the usage of", "", err)
	}
	defer p.work.Done()
	usage, err := p.usage(ctx)
	return usage, p.wrap("read the usage of", "", err)
}

func (p *Pool) usage(ctx context.Context) (PoolUsage, error) {
	sort := p.sortThins()
	var read thinmetadata.Usage
	err := p.withMetadata(ctx, func(held heldMetadata) (err error) {
		reached(failUsageHeld)
		read, err = held.Usage(ctx, held.superblock, held.dataBlocks)
		return err
	})
	if err != nil {
		return PoolUsage{}, err
	}
	block := uint64(p.label.BlockSectors.Bytes())
	usage := PoolUsage{Volumes: map[string]Usage{}}
	shared := read.DataBlocks
	for _, t := range read.Thins {
		shared -= t.Exclusive
		sort(&usage, t.ThinID, Usage{
			Mapped: int64(t.Mapped * block), Shared: int64((t.Mapped - t.Exclusive) * block), Exclusive: int64(t.Exclusive * block),
		})
	}
	usage.SharedBytes = int64(shared * block)
	return usage, nil
}

// sortThins gives a function that puts a thin device's usage where it belongs, by what the registry knows now. What is made
// later is not in it, and what is deleted until the metadata is read has no usage: a call is a look at a pool that changes.
func (p *Pool) sortThins() func(usage *PoolUsage, thin uint32, u Usage) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	names, bases, deleting := map[uint32]string{}, map[uint32]BaseUsage{}, map[uint32]bool{}
	for name, v := range p.volumes {
		if v.state == volumeReady {
			names[v.record.ThinID] = name
		}
	}
	for _, b := range p.bases {
		if b.ready {
			bases[b.record.ThinID] = BaseUsage{Format: b.record.Format.format(), Size: b.record.Size}
		}
	}
	for thin := range p.deletions {
		deleting[thin] = true
	}
	return func(usage *PoolUsage, thin uint32, u Usage) {
		if name, ok := names[thin]; ok {
			usage.Volumes[name] = u
		} else if base, ok := bases[thin]; ok {
			base.Usage = u
			usage.Bases = append(usage.Bases, base)
		} else if deleting[thin] {
			usage.Deleting = usage.Deleting.add(u)
		} else {
			usage.Others = usage.Others.add(u)
		}
	}
}

// Mapped gives what the active volumes map, in bytes by name: what Usage calls Mapped, what is not committed yet included, at
// the cost of one system call of some microseconds a volume. Volumes that are not active are left out.
func (p *Pool) Mapped(ctx context.Context) (map[string]int64, error) {
	if err := p.begin(); err != nil {
		return nil, p.wrap("read the usage of", "", err)
	}
	defer p.work.Done()
	mapped := map[string]int64{}
	for _, v := range p.Volumes() {
		status, err := p.thinStatus(ctx, p.label.PoolID.thinUUID(v.ThinID), v.ThinID)
		switch {
		case errors.Is(err, devicemapper.ErrNotExist), errors.Is(err, devicemapper.ErrNoTable):
			continue
		case err != nil:
			return nil, p.wrap("read the usage of", v.Name, err)
		case status.State == devicemapper.ThinStateOK:
			mapped[v.Name] = status.MappedSectors.Bytes()
		}
	}
	return mapped, nil
}
