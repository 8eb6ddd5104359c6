package thinpool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"
)

// newFormatted makes a volume that is no snapshot of a base: its own thin device is formatted, which takes as long as mkfs.
// It is what remains when the pool has made all the snapshots of its life, as thin devices cost none.
//
// Until its file system is whole the thin device goes by a base's intent, which is undone after a crash: a volume's would be
// finished, and nobody knows how far mkfs came. The volume's record takes the intent's place in one commit.
func (p *Pool) newFormatted(ctx context.Context, spec VolumeSpec) (*volume, error) {
	ctx, cancel := context.WithTimeout(ctx, makeBaseTimeout)
	defer cancel()
	began := time.Now()
	record := volumeRecord{Size: spec.Size, Format: recordOf(spec.Format), Owner: spec.Owner, Created: began.UTC()}
	v, err := p.admit(ctx, spec.Name, record)
	if err != nil {
		return nil, err
	}
	b := &base{record: baseRecord{Size: record.Size, Format: record.Format, Created: record.Created}}
	if err := p.makeFormatted(ctx, b); err != nil {
		p.forget(spec.Name, v)
		return nil, fmt.Errorf("format %s of %d bytes: %w", record.Format.Type, record.Size, err)
	}
	record.ThinID = b.record.ThinID
	// Whoever asked may leave now: what becomes of the commit must be known.
	err = p.registry.committer.commit(context.WithoutCancel(ctx), 0,
		write{bucketVolumes, []byte(spec.Name), encodeRecord(record)}, write{bucketIntents, intentKey(b.intent), nil})
	if err != nil {
		if errors.Is(err, ErrRegistryFull) {
			err = errors.Join(err, p.undoBase(ctx, b.record.ThinID, intentKey(b.intent)))
		}
		// A registry that broke may hold the record or the intent: the thin device stays, and the next Open decides.
		p.forget(spec.Name, v)
		return nil, err
	}
	reached(failFormatDone)
	p.mutex.Lock()
	v.record, v.state, v.intent = record, volumeReady, 0
	p.mutex.Unlock()
	klog.FromContext(ctx).Info("Formatted a volume, the pool has no snapshots left", "pool", p.label.PoolName, "volume", spec.Name,
		"thinID", record.ThinID, "fsType", record.Format.Type, "size", record.Size, "duration", time.Since(began))
	return v, nil
}
