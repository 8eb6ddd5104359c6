package thinpool

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// makeBaseTimeout bounds the making of a base; mkfs takes seconds at most.
const makeBaseTimeout = 10 * time.Minute

// maximumBases is how many bases a pool keeps; beyond it those that were not used for longest are deleted. Tests lower it.
var maximumBases = 64

// baseKey tells bases apart: one for each file system, mkfs options and exact size.
type baseKey struct {
	fsType  filesystem.Type
	options string
	size    int64
}

func keyOf(f formatRecord, size int64) baseKey {
	return baseKey{fsType: f.Type, options: strings.Join(f.Options, " "), size: size}
}

// base is a thin device with a fresh file system, of which volumes are snapshots. It is never active once it is ready, so a
// snapshot of it needs no suspend. Fields but made and err are guarded by Pool.mutex.
type base struct {
	record   baseRecord
	ready    bool
	users    int // creations that are about to take a snapshot of it
	lastUsed time.Time
	intent   uint64

	made chan struct{} // closed when the making is over, well or not
	err  error         // set before made is closed
}

func readyBase(r baseRecord) *base {
	made := make(chan struct{})
	close(made)
	return &base{record: r, ready: true, lastUsed: r.Created, made: made}
}

// acquireBase gives the base for a format and a size, and has it made first where there is none: once, however many ask.
// The base is not deleted until releaseBase.
func (p *Pool) acquireBase(ctx context.Context, format formatRecord, size int64) (*base, error) {
	key := keyOf(format, size)
	p.mutex.Lock()
	b, ok := p.bases[key]
	if !ok {
		b = &base{made: make(chan struct{}), record: baseRecord{Size: size, Format: format}}
		p.bases[key] = b
		// It is everybody's who waits for it, so it ends with the pool and not with who came first.
		p.work.Add(1)
		go func() {
			defer p.work.Done()
			p.runBase(klog.NewContext(p.life, klog.FromContext(ctx)), key, b) //nolint:contextcheck // outlives the call that began it
		}()
	}
	b.users++
	p.mutex.Unlock()
	select {
	case <-b.made:
	case <-ctx.Done():
		p.releaseBase(b)
		return nil, context.Cause(ctx)
	}
	if b.err != nil {
		p.releaseBase(b)
		return nil, b.err
	}
	return b, nil
}

func (p *Pool) releaseBase(b *base) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	b.users--
	b.lastUsed = time.Now()
}

// runBase makes a base and tells those who wait for it.
func (p *Pool) runBase(ctx context.Context, key baseKey, b *base) {
	ctx, cancel := context.WithTimeout(ctx, makeBaseTimeout)
	defer cancel()
	began := time.Now()
	logger := klog.FromContext(ctx)
	err := p.makeBase(ctx, b)
	p.mutex.Lock()
	if err != nil {
		delete(p.bases, key)
		b.err = fmt.Errorf("make %s base of %d bytes: %w", key.fsType, key.size, err)
	} else {
		b.ready = true
		p.baseBytes += b.record.MappedBytes
	}
	p.mutex.Unlock()
	close(b.made)
	if err != nil {
		logger.Error(err, "Making a base failed", "pool", p.label.PoolName, "fsType", key.fsType, "size", key.size)
		return
	}
	logger.Info("Made a base", "pool", p.label.PoolName, "fsType", key.fsType, "size", key.size, "thinID", b.record.ThinID, "mappedBytes", b.record.MappedBytes, "duration", time.Since(began))
	p.evictBases(ctx)
}

// makeBase makes the thin device and its file system. On an error nothing is left of it, or its intent.
func (p *Pool) makeBase(ctx context.Context, b *base) (err error) {
	if err := p.admitBase(ctx); err != nil {
		return err
	}
	b.record.Created = time.Now().UTC()
	p.mutex.Lock()
	if b.record.ThinID, err = p.takeThinID(); err != nil {
		p.mutex.Unlock()
		return err
	}
	b.intent = p.intentNumber()
	next, record := p.nextThinID, b.record
	p.mutex.Unlock()
	intent := intentKey(b.intent)
	if err := p.registry.committer.commit(ctx, next, write{bucketIntents, intent, encodeRecord(intentRecord{Kind: intentCreateBase, Base: &record})}); err != nil {
		return err
	}
	reached(failBaseIntent)
	p.reload.RLock()
	err = p.dm.CreateThin(ctx, p.device, devicemapper.ThinID(b.record.ThinID))
	p.reload.RUnlock()
	if err != nil {
		p.registry.committer.ride(write{bucketIntents, intent, nil})
		return p.messageFailure(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.undoBase(ctx, b.record.ThinID, intent))
		}
	}()
	if _, err := p.healthy(ctx); err != nil {
		return err
	}
	reached(failBaseThin)
	if err := p.formatBase(ctx, b); err != nil {
		return err
	}
	reached(failBaseFormatted)
	// The device was flushed, which committed the pool; if that had failed the pool would say so.
	if _, err := p.healthy(ctx); err != nil {
		return err
	}
	// Rides with the first volume's intent, or alone. Until then the base is made anew after a crash.
	p.registry.committer.ride(
		write{bucketBases, thinIDKey(b.record.ThinID), encodeRecord(b.record)},
		write{bucketIntents, intent, nil},
	)
	reached(failBaseDone)
	return nil
}

// formatBase activates the thin device, runs mkfs, looks at what it made, flushes and deactivates.
func (p *Pool) formatBase(ctx context.Context, b *base) (err error) {
	thin := b.record.ThinID
	p.reload.RLock()
	device, err := p.dm.Activate(ctx, p.label.PoolID.baseName(thin), p.label.PoolID.thinUUID(thin), p.thinTable(thin, b.record.Size))
	p.reload.RUnlock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stack.remove(context.WithoutCancel(ctx), device)) }()
	if err := filesystem.Make(ctx, device.Path(), b.record.Size, b.record.Format.format()); err != nil {
		return err
	}
	superblock, err := flushAndRead(device.Path())
	if err != nil {
		return err
	}
	if superblock.Type != b.record.Format.Type || superblock.Size > b.record.Size || superblock.Size < b.record.Size-baseSlack {
		return fmt.Errorf("mkfs left a %s of %d bytes on a device of %d", superblock.Type, superblock.Size, b.record.Size)
	}
	b.record.UUID = hex.EncodeToString(superblock.UUID[:])
	status, err := p.dm.ThinStatus(ctx, device)
	if err != nil {
		return err
	}
	b.record.MappedBytes = status.MappedSectors.Bytes()
	return nil
}

// baseSlack is how much of a device mkfs may leave unused, in bytes: mkfs.xfs drops a last allocation group below 16 MiB.
const baseSlack = 16 << 20

// flushAndRead makes what was written to the device durable, mappings included, and reads the superblock back.
func flushAndRead(path string) (filesystem.Superblock, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return filesystem.Superblock{}, err
	}
	defer func() { _ = file.Close() }()
	if err := file.Sync(); err != nil {
		return filesystem.Superblock{}, fmt.Errorf("flush base: %w", err)
	}
	return filesystem.ReadSuperblock(file)
}

// undoBase removes what a failed making has left. What cannot be removed now is what the intent, which then stays, is for.
func (p *Pool) undoBase(ctx context.Context, thin uint32, intent []byte) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := p.deleteThin(ctx, thin); err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	p.registry.committer.ride(write{bucketIntents, intent, nil})
	return nil
}

// evictBases deletes the bases that were not used for longest, as long as there are more than maximumBases.
func (p *Pool) evictBases(ctx context.Context) {
	for {
		key, b := p.idleBase(maximumBases)
		if b == nil {
			return
		}
		if err := p.deleteBase(ctx, key, b); err != nil {
			klog.FromContext(ctx).Error(err, "Deleting a base that is not needed failed", "pool", p.label.PoolName, "fsType", key.fsType, "size", key.size)
			return
		}
	}
}

// idleBase takes the least recently used of the bases that nobody uses out of the pool's memory, if there are more than
// keep of them.
func (p *Pool) idleBase(keep int) (baseKey, *base) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if len(p.bases) <= keep {
		return baseKey{}, nil
	}
	var idle []baseKey
	for key, b := range p.bases {
		if b.ready && b.users == 0 {
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

// deleteBase deletes a base that idleBase has taken out. Snapshots of it keep their blocks.
func (p *Pool) deleteBase(ctx context.Context, key baseKey, b *base) error {
	p.mutex.Lock()
	number, record := p.intentNumber(), b.record
	p.mutex.Unlock()
	err := p.registry.committer.commit(ctx, 0,
		write{bucketIntents, intentKey(number), encodeRecord(intentRecord{Kind: intentDeleteBase, Base: &record})},
		write{bucketBases, thinIDKey(record.ThinID), nil},
	)
	if err != nil {
		return err
	}
	reached(failBaseDeleting)
	p.mutex.Lock()
	p.baseBytes -= record.MappedBytes
	p.mutex.Unlock()
	if err := p.giveBack(ctx, record.ThinID, record.Size); err != nil {
		return err
	}
	reached(failBaseDeleted)
	p.registry.committer.ride(write{bucketIntents, intentKey(number), nil})
	klog.FromContext(ctx).Info("Deleted a base that was not used for long", "pool", p.label.PoolName, "fsType", key.fsType, "size", key.size)
	return nil
}
