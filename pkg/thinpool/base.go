package thinpool

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// makeBaseTimeout bounds the making of a base; mkfs takes seconds at most.
const makeBaseTimeout = 10 * time.Minute

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
	// identified: its file system is known to be the one that was made on it.
	identified bool

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
	err := b.err
	if err == nil {
		err = p.identifyBase(ctx, b)
	}
	if err != nil {
		p.releaseBase(b)
		return nil, err
	}
	return b, nil
}

// EnsureBase makes the base for volumes of size bytes with that file system ahead of demand, if there is none: the first of
// them then needs no mkfs. A base that is not used for long may be given up again for its space.
func (p *Pool) EnsureBase(ctx context.Context, size int64, format filesystem.Format) error {
	if err := p.begin(); err != nil {
		return p.wrap("make base", "", err)
	}
	defer p.work.Done()
	return p.wrap("make base", "", p.ensureBase(ctx, VolumeSpec{Name: "base", Size: size, Format: format}))
}

func (p *Pool) ensureBase(ctx context.Context, spec VolumeSpec) error {
	spec, err := spec.normalized(p.label.BlockSectors.Bytes())
	if err != nil {
		return err
	}
	if spec.Format.Type == "" {
		return &FieldError{Field: "fsType", Value: "", Allowed: fmt.Sprint(filesystem.Types)}
	}
	b, err := p.acquireBase(ctx, recordOf(spec.Format), spec.Size)
	if err == nil {
		p.releaseBase(b)
	}
	return err
}

// baseFor gives the base that a volume begins as: the one of its size or, where that cannot be made though the pool is well, a
// smaller one, from which its file system grows when it is mounted.
func (p *Pool) baseFor(ctx context.Context, format formatRecord, size int64) (*base, error) {
	b, err := p.acquireBase(ctx, format, size)
	if err == nil || ctx.Err() != nil {
		return b, err
	}
	for _, other := range []error{ErrPoolFailed, ErrPoolClosed, ErrPoolDamaged, ErrNoSpace, ErrThinIDs, ErrRegistryFull, ErrBaseDamaged} {
		if errors.Is(err, other) {
			return nil, err
		}
	}
	smaller := p.smallerBase(format, size)
	if smaller == nil {
		return nil, err
	}
	if err := p.identifyBase(ctx, smaller); err != nil {
		p.releaseBase(smaller)
		return nil, err
	}
	klog.FromContext(ctx).Error(err, "A base could not be made, a smaller one takes its place", "pool", p.label.PoolName, "fsType", format.Type, "size", size, "smaller", smaller.record.Size)
	return smaller, nil
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
		b.ready, b.identified = true, true
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

// makeBase makes a base. On an error nothing is left of it, or its intent.
func (p *Pool) makeBase(ctx context.Context, b *base) error {
	if err := p.admitBase(ctx); err != nil {
		return err
	}
	b.record.Created = time.Now().UTC()
	if err := p.makeFormatted(ctx, b); err != nil {
		return err
	}
	// Rides with the first volume's intent, or alone. Until then the base is made anew after a crash.
	p.registry.committer.ride(
		write{bucketBases, thinIDKey(b.record.ThinID), encodeRecord(b.record)},
		write{bucketIntents, intentKey(b.intent), nil},
	)
	reached(failBaseDone)
	return nil
}

// makeFormatted makes a thin device and its file system, under an intent that stays. On an error nothing is left of either, or
// the intent, which has them undone.
func (p *Pool) makeFormatted(ctx context.Context, b *base) (err error) {
	p.mutex.Lock()
	b.intent = p.intentNumber()
	record := b.record
	p.mutex.Unlock()
	intent := intentKey(b.intent)
	thin, _, err := p.newThin(ctx, b.intent, func(thin uint32) intentRecord {
		intended := record
		intended.ThinID = thin
		return intentRecord{Kind: intentCreateBase, Base: &intended}
	}, func(ctx context.Context, thin devicemapper.ThinID) (outcome, error) {
		reached(failBaseIntent)
		return p.createEmpty(ctx, thin)
	})
	if err != nil {
		p.registry.committer.ride(write{bucketIntents, intent, nil})
		return err
	}
	p.mutex.Lock()
	b.record.ThinID = thin
	p.mutex.Unlock()
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
	_, err = p.healthy(ctx)
	return err
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
