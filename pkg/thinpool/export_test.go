package thinpool

import (
	"context"
	"time"

	"go.etcd.io/bbolt"
)

// LabelVersion is the format of the labels that are written, RegistryVersion that of the records.
const (
	LabelVersion    = labelVersion
	RegistryVersion = registryVersion
)

// SetDeletionSlice changes how many blocks are given back at once.
func SetDeletionSlice(blocks int64) { deletionSlice = blocks }

// SetGrowthPause changes how long a growth that failed is not tried again.
func SetGrowthPause(pause time.Duration) { growthPause = pause }

// AreaSize is the length of all areas of a kind, in bytes.
func (p *Pool) AreaSize(kind string) int64 { return p.label.size(areaKind(kind)) }

// StoredRegistryVersion is the version that the registry's pool record says.
func (p *Pool) StoredRegistryVersion() (version int, err error) {
	err = p.registry.db.View(func(tx *bbolt.Tx) error {
		record, err := decodePoolRecord(tx.Bucket([]byte(bucketPool)).Get([]byte(keyPoolRecord)))
		version = record.Version
		return err
	})
	return version, err
}

// SetRegistryVersion writes a version into the registry's pool record.
func (p *Pool) SetRegistryVersion(ctx context.Context, version int) error {
	record := poolRecord{Version: version, PoolID: p.label.PoolID, BlockSectors: p.label.BlockSectors}
	return p.registry.committer.commit(ctx, 0, write{bucketPool, []byte(keyPoolRecord), encodeRecord(record)})
}

// SetMaximumBases changes how many bases a pool keeps.
func SetMaximumBases(n int) { maximumBases = n }

// Config is the configuration that the pool was opened with.
func (p *Pool) Config() Config {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.config
}

// BaseOf gives the thin id of the base that a spec's volumes are snapshots of.
func (p *Pool) BaseOf(spec VolumeSpec) (uint32, bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	b, ok := p.bases[keyOf(recordOf(spec.Format), spec.Size)]
	if !ok {
		return 0, false
	}
	return b.record.ThinID, b.ready
}

// SetBaseRest changes how long a base must not have been used to be given up for its space.
func SetBaseRest(rest time.Duration) { baseRest = rest }
