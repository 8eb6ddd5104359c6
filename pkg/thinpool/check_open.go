package thinpool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
)

// Check examines the pool while it is open, as the function Check does one that is not: of the file system below the
// registry it sees only whether the kernel has noted errors. Volumes go on meanwhile; the metadata is read as it was
// committed at one moment. A pool that the kernel holds read-only or failed commits nothing, and what is on its disk is
// examined.
func (p *Pool) Check(ctx context.Context) (CheckReport, error) {
	if err := p.begin(); err != nil {
		return CheckReport{}, p.wrap("check", "", err)
	}
	defer p.work.Done()
	r, err := p.check(ctx)
	return r, p.wrap("check", "", err)
}

func (p *Pool) check(ctx context.Context) (CheckReport, error) {
	r := CheckReport{Pool: p.label.PoolName, PoolID: string(p.label.PoolID), Active: true}
	status, err := p.dm.ThinPoolStatus(ctx, p.device)
	if err != nil {
		return r, err
	}
	r.Mode = modes[status.Mode]
	before := p.thinOwners()
	metadata, err := p.examineOpen(ctx, status.Healthy())
	if err != nil {
		return r, err
	}
	if p.handed != nil {
		before.known[registryThinID] = true
	}
	r.MetadataDamage, r.NeedsCheck = metadata.damage, metadata.superblock.NeedsCheck || status.NeedsCheck
	if r.MetadataDamage == "" {
		p.metadataSound()
	} else {
		p.noteMetadata(ctx, fmt.Errorf("%w: %s", thinmetadata.ErrDamaged, r.MetadataDamage))
	}
	if err := p.registry.committer.broken(); err != nil {
		r.RegistryDamage = err.Error()
	} else if err := p.registry.mount.checkPages(); err != nil {
		r.RegistryDamage = err.Error()
	}
	after := p.thinOwners()
	r.Volumes = len(after.volumes)
	if metadata.damage == "" {
		r.Lost, r.UnknownThinIDs = compareOwners(before, after, metadata.details)
	}
	return r, nil
}

// thinOwners is what an open pool knows of its thin devices at a moment.
type thinOwners struct {
	volumes map[string]LostVolume // that should be there, by name
	known   map[uint32]bool       // ids that belong to something, there or not
	next    uint32                // the lowest id that was never given out
}

func (p *Pool) thinOwners() thinOwners {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	o := thinOwners{volumes: map[string]LostVolume{}, known: map[uint32]bool{}, next: p.nextThinID}
	for name, v := range p.volumes {
		o.known[v.record.ThinID] = true
		if v.state == volumeReady || v.state == volumeLost {
			o.volumes[name] = LostVolume{Name: name, ThinID: v.record.ThinID, Size: v.record.Size}
		}
	}
	for _, b := range p.bases {
		o.known[b.record.ThinID] = true
	}
	for id := range p.deletions {
		o.known[id] = true
	}
	return o
}

// compareOwners compares the metadata, read at a moment between the two, with what was known at both: what came or went
// meanwhile is neither lost nor unknown.
func compareOwners(before, after thinOwners, details []thinmetadata.Details) (lost []LostVolume, unknown []uint32) {
	thins := map[uint32]bool{}
	for _, d := range details {
		thins[d.ThinID] = true
		if !before.known[d.ThinID] && !after.known[d.ThinID] && d.ThinID < before.next {
			unknown = append(unknown, d.ThinID)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after.volumes)) {
		if v := after.volumes[name]; before.volumes[name] == v && !thins[v.ThinID] {
			lost = append(lost, v)
		}
	}
	slices.SortFunc(lost, func(a, b LostVolume) int { return cmp.Compare(a.Name, b.Name) })
	return lost, unknown
}

// examineOpen examines the metadata through a metadata snapshot where the kernel writes it, and as it is where it does not.
func (p *Pool) examineOpen(ctx context.Context, writable bool) (f metadataFindings, err error) {
	if writable {
		err = p.withMetadata(ctx, func(held heldMetadata) error {
			f.superblock = held.superblock
			return f.examine(ctx, held.Device, "--metadata-snap", "--", p.metadataPath)
		})
		if errors.Is(err, ErrPoolDamaged) {
			f.damage, err = err.Error(), nil
		}
		return f, err
	}
	if p.handed != nil {
		return f, fmt.Errorf("%w: the kernel does not write it any more", ErrNotOwned)
	}
	unlock, err := p.metadataReader.lock(ctx, "")
	if err != nil {
		return f, err
	}
	defer unlock()
	table, err := p.dm.Table(ctx, p.metadata, devicemapper.TableOptions{})
	if err != nil {
		return f, err
	}
	var made parts
	alias, err := p.stack.ensurePart(ctx, partRepairMetadata, table, &made)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, p.stack.undo(ctx, made)) }()
	return examineMetadataOn(ctx, alias.Path())
}
