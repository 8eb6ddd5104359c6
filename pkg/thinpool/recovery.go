package thinpool

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
)

// loadIntent puts what an intent is about into memory, in the state from which recover goes on.
func (p *Pool) loadIntent(number uint64, r intentRecord) error {
	switch r.Kind {
	case intentCreateBase, intentDeleteBase:
		// A base without a record: nobody knows how far mkfs came.
		p.deletions[r.Base.ThinID] = &deletion{thin: r.Base.ThinID, size: r.Base.Size, intent: number}
		return nil
	case intentDeleteVolume:
		if other := p.volumes[r.Name]; other != nil && other.record.ThinID == r.Volume.ThinID {
			return fmt.Errorf("%w: intent %d deletes the volume %s, which has a record", ErrPoolDamaged, number, r.Name)
		}
		p.deletions[r.Volume.ThinID] = &deletion{thin: r.Volume.ThinID, size: r.Volume.Size, intent: number, volume: r.Name}
		return nil
	}
	if r.Kind == intentCreateGroup {
		for _, member := range r.Group {
			if err := p.loadCreation(number, member.Name, member.Volume, true); err != nil {
				return err
			}
		}
		return nil
	}
	return p.loadCreation(number, r.Name, *r.Volume, false)
}

// loadCreation loads the creation of one volume, alone or in a group.
func (p *Pool) loadCreation(number uint64, name string, record volumeRecord, grouped bool) error {
	if old, taken := p.volumes[name]; taken && old.record.ThinID != record.ThinID {
		return fmt.Errorf("%w: intent %d and a record are about the volume %s, with thin ids %d and %d", ErrPoolDamaged, number, name, record.ThinID, old.record.ThinID)
	} else if !taken {
		p.promised += record.Size
	}
	p.volumes[name] = &volume{record: record, state: volumeCreating, intent: number, grouped: grouped}
	return nil
}

// recover ends what an earlier process has left unfinished: devices that it suspended, a metadata snapshot that it held,
// and its intents. Then it compares the pool's thin ids with the registry. A pool that takes no messages keeps its
// intents; the next Open goes on.
//
// Each step may be repeated, so recovery itself can be cut anywhere.
func (p *Pool) recover(ctx context.Context) error {
	if err := p.adoptThins(ctx); err != nil {
		return err
	}
	reached(failRecoverAdopted)
	status, err := p.dm.ThinPoolStatus(ctx, p.device)
	if err != nil {
		return err
	}
	if !status.Healthy() {
		klog.FromContext(ctx).Error(nil, "Thin pool is not writable, recovery is put off", "pool", p.label.PoolName, "mode", status.Mode, "needsCheck", status.NeedsCheck, "intents", p.intents())
		return nil
	}
	thins, err := p.thinIDs(ctx)
	if _, failure := p.healthy(ctx); err != nil && failure != nil {
		// The kernel finds that its metadata space is full only when it is asked to write.
		klog.FromContext(ctx).Error(err, "Thin pool is not writable any more, recovery is put off", "pool", p.label.PoolName, "failure", failure, "intents", p.intents())
		return nil
	}
	if err != nil {
		return err
	}
	p.finishIntents(ctx, thins)
	reached(failRecoverVolumes)
	p.compareThins(ctx, thins)
	return nil
}

func (p *Pool) intents() int {
	n := len(p.deletions)
	for _, v := range p.volumes {
		if v.intent != 0 {
			n++
		}
	}
	return n
}

// thinIDs reads the ids of all thin devices from the pool's metadata.
func (p *Pool) thinIDs(ctx context.Context) (map[uint32]bool, error) {
	ids := make(map[uint32]bool, len(p.volumes)+len(p.bases)+len(p.deletions))
	p.metadataLeft = true // by an earlier process, if it is held
	err := p.withMetadata(ctx, func(held heldMetadata) error {
		reached(failRecoverHeld)
		p.snapshots.Store(max(p.snapshots.Load(), int64(held.superblock.Time)))
		return held.EachDetails(ctx, held.superblock, func(d thinmetadata.Details) error {
			if p.handed != nil && d.ThinID == registryThinID {
				return nil
			}
			ids[d.ThinID] = true
			if pending := p.deletions[d.ThinID]; pending != nil {
				pending.mapped = int64(d.MappedBlocks) * p.label.BlockSectors.Bytes()
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// finishIntents finishes or undoes what intents say. A deletion whose thin device is still there goes on in the background.
func (p *Pool) finishIntents(ctx context.Context, thins map[uint32]bool) {
	logger := klog.FromContext(ctx)
	for thin, d := range p.deletions {
		if !thins[thin] {
			p.endDeletion(d)
		}
	}
	reached(failRecoverDeletions)
	p.finishGroups(ctx, thins)
	for _, name := range p.creating() {
		v := p.volumes[name]
		switch {
		case thins[v.record.ThinID]:
			// It may have been acknowledged: that needs the intent and the kernel's commit, no more.
			p.registry.committer.ride(write{bucketVolumes, []byte(name), encodeRecord(v.record)}, write{bucketIntents, intentKey(v.intent), nil})
			v.state, v.intent = volumeReady, 0
			logger.Info("Finished the creation of a volume", "pool", p.label.PoolName, "volume", name, "thinID", v.record.ThinID)
		default:
			p.registry.committer.ride(write{bucketIntents, intentKey(v.intent), nil})
			p.forget(name, v)
			logger.Info("Undid the creation of a volume", "pool", p.label.PoolName, "volume", name, "thinID", v.record.ThinID)
		}
	}
}

// creating lists the volumes that have an intent and no record yet, by name.
func (p *Pool) creating() []string {
	var names []string
	for name, v := range p.volumes {
		if v.state == volumeCreating {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// compareThins compares the pool's thin ids with the registry, which must agree now. What does not is said and left alone:
// it was not this package that made it so. It leaves in thins what the registry does not know.
func (p *Pool) compareThins(ctx context.Context, thins map[uint32]bool) {
	logger := klog.FromContext(ctx)
	for thin := range thins {
		p.nextThinID = max(p.nextThinID, thin+1)
	}
	take := func(thin uint32) (there bool) {
		there = thins[thin]
		delete(thins, thin)
		return there
	}
	for thin := range p.deletions {
		take(thin)
	}
	for name, v := range p.volumes {
		if there := take(v.record.ThinID); v.state == volumeReady && !there {
			v.state = volumeLost
			logger.Error(nil, "The pool does not hold a volume's thin device", "pool", p.label.PoolName, "volume", name, "thinID", v.record.ThinID)
		}
	}
	for key, b := range p.bases {
		if !take(b.record.ThinID) {
			// Its volumes are whole without it; the next one of its kind gets a new base.
			logger.Error(nil, "The pool does not hold a base's thin device", "pool", p.label.PoolName, "thinID", b.record.ThinID)
			p.registry.committer.ride(write{bucketBases, thinIDKey(b.record.ThinID), nil})
			p.baseBytes -= b.record.MappedBytes
			delete(p.bases, key)
		}
	}
	for thin := range thins {
		p.unknown++
		logger.Error(nil, "The pool holds a thin device that the registry does not know", "pool", p.label.PoolName, "thinID", thin)
	}
}
