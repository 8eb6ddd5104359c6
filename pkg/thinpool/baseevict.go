package thinpool

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/klog/v2"
)

// maximumBases is how many bases a pool keeps; beyond it those that were not used for longest are deleted. Tests lower it.
var maximumBases = 64

// baseRest is how long a base must not have been used to be given up for its space. Tests lower it.
var baseRest = 10 * time.Minute

// evictBases deletes the bases that were not used for longest, as long as there are more than maximumBases. Their blocks
// follow in the background.
func (p *Pool) evictBases(ctx context.Context) {
	for {
		key, b := p.idleBase(maximumBases, 0)
		if b == nil {
			return
		}
		d, err := p.deleteBase(ctx, key, b)
		if err != nil {
			klog.FromContext(ctx).Error(err, "Deleting a base that is not needed failed", "pool", p.label.PoolName, "fsType", key.fsType, "size", key.size)
			return
		}
		p.leaveDeletion(d)
	}
}

// giveUpBases deletes the bases that nobody has used lately, for the sake of a request that the pool has no space for. It
// tells whether there was one.
func (p *Pool) giveUpBases(ctx context.Context) bool {
	gave := false
	for {
		key, b := p.idleBase(0, baseRest)
		if b == nil {
			return gave
		}
		d, err := p.deleteBase(ctx, key, b)
		if err != nil {
			klog.FromContext(ctx).Error(err, "Deleting a base for its space failed", "pool", p.label.PoolName, "fsType", key.fsType, "size", key.size)
			return gave
		}
		gave = true
		if err := p.finishDeletion(ctx, d); err != nil {
			klog.FromContext(ctx).Error(err, "Giving back the blocks of a base failed", "pool", p.label.PoolName, "fsType", key.fsType, "size", key.size)
			p.leaveDeletion(d)
			return gave
		}
	}
}

// DropBase deletes the base on a thin id, so that the next volume of its kind gets a new one: the way out of ErrBaseDamaged.
// Volumes that came from it keep their blocks, and whatever was wrong with these. ErrBaseNotFound: the pool holds no base on
// that id. ErrVolumeInUse: a volume is just being made from it.
func (p *Pool) DropBase(ctx context.Context, thin uint32) error {
	if err := p.begin(); err != nil {
		return p.wrap("drop base", "", err)
	}
	defer p.work.Done()
	key, b, err := p.takeBase(thin)
	if err != nil {
		return p.wrap("drop base", "", err)
	}
	d, err := p.deleteBase(ctx, key, b)
	if err == nil {
		p.leaveDeletion(d)
	}
	return p.wrap("drop base", "", err)
}

// takeBase takes a base that nobody uses out of the pool's memory.
func (p *Pool) takeBase(thin uint32) (baseKey, *base, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for key, b := range p.bases {
		switch {
		case !b.ready || b.record.ThinID != thin:
		case b.users > 0:
			return key, nil, fmt.Errorf("%w: a volume is being made from base %d", ErrVolumeInUse, thin)
		default:
			delete(p.bases, key)
			return key, b, nil
		}
	}
	return baseKey{}, nil, fmt.Errorf("%w: thin id %d", ErrBaseNotFound, thin)
}

// idleBase takes the least recently used of the bases that nobody uses out of the pool's memory, if there are more than keep
// of them and it was not used for rest.
func (p *Pool) idleBase(keep int, rest time.Duration) (baseKey, *base) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if len(p.bases) <= keep {
		return baseKey{}, nil
	}
	var idle []baseKey
	for key, b := range p.bases {
		if b.ready && b.users == 0 && time.Since(b.lastUsed) >= rest {
			idle = append(idle, key)
		}
	}
	if len(idle) == 0 {
		return baseKey{}, nil
	}
	oldest := slices.MinFunc(idle, func(x, y baseKey) int { return p.bases[x].lastUsed.Compare(p.bases[y].lastUsed) })
	b := p.bases[oldest]
	delete(p.bases, oldest)
	return oldest, b
}

// deleteBase records the deletion of a base that idleBase has taken out, with which the caller goes on. Snapshots of it keep
// their blocks.
func (p *Pool) deleteBase(ctx context.Context, key baseKey, b *base) (*deletion, error) {
	p.mutex.Lock()
	number, record := p.intentNumber(), b.record
	p.mutex.Unlock()
	err := p.registry.committer.commit(ctx, 0,
		write{bucketIntents, intentKey(number), encodeRecord(intentRecord{Kind: intentDeleteBase, Base: &record})},
		write{bucketBases, thinIDKey(record.ThinID), nil},
	)
	if err != nil {
		p.mutex.Lock()
		if _, taken := p.bases[key]; !taken {
			p.bases[key] = b
		}
		p.mutex.Unlock()
		return nil, err
	}
	reached(failBaseDeleting)
	p.mutex.Lock()
	p.baseBytes -= record.MappedBytes
	p.mutex.Unlock()
	d := &deletion{thin: record.ThinID, size: record.Size, intent: number, mapped: record.MappedBytes, taken: true}
	p.addDeletion(d)
	klog.FromContext(ctx).Info("Deleted a base", "pool", p.label.PoolName, "fsType", key.fsType, "size", key.size, "lastUsed", b.lastUsed)
	return d, nil
}

// smallerBase finds the largest base of a format that is ready and from which a volume of size bytes can grow, by eight
// times at most: ext4 has room reserved for that, and xfs gets no more allocation groups than it can well have. The base is
// not deleted until releaseBase.
func (p *Pool) smallerBase(format formatRecord, size int64) *base {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	var best *base
	smallest := (size + mostGrowth - 1) / mostGrowth
	for key, b := range p.bases {
		if b.ready && b.record.Format.equal(format) && key.size < size && key.size >= smallest && (best == nil || key.size > best.record.Size) {
			best = b
		}
	}
	if best != nil {
		best.users++
	}
	return best
}

// mostGrowth is how many times its size a file system is grown at most, from the base that it began as.
const mostGrowth = 8
