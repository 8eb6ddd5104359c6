package thinpool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"go.etcd.io/bbolt"
)

// registryContents is all that a registry held when it was opened.
type registryContents struct {
	pool       poolRecord
	nextThinID uint32
	volumes    map[string]*volume // ready, and nobody else's
	bases      []baseRecord
	intents    map[uint64]intentRecord
	inUse      int64  // pages of the file
	folded     uint64 // the sequence of the last record of the journal, which is in the contents
}

// readContents decodes all records: quickly, or where that does not work out in bbolt's own way, which also says what is wrong.
func readContents(db *bbolt.DB, file io.ReaderAt, size int64) (*registryContents, error) {
	if c, err := sweepContents(file, size); err == nil {
		return c, nil
	}
	var c *registryContents
	err := db.View(func(tx *bbolt.Tx) (err error) {
		c, err = walkContents(tx)
		return err
	})
	return c, err
}

// sweepContents reads the file page by page.
func sweepContents(file io.ReaderAt, size int64) (*registryContents, error) {
	r := newContentsReader()
	highWater, err := sweepRecords(file, size, r.take)
	if err != nil {
		return nil, err
	}
	return r.finish(int64(highWater))
}

// walkContents reads through bbolt.
func walkContents(tx *bbolt.Tx) (*registryContents, error) {
	r := newContentsReader()
	var failures []error
	for _, name := range buckets {
		bucket := tx.Bucket([]byte(name))
		if bucket == nil {
			return nil, fmt.Errorf("%w: no bucket %q", errRecordDamaged, name)
		}
		err := bucket.ForEach(func(key, value []byte) error { return r.take(name, key, value) })
		if err != nil && name == bucketPool {
			return nil, err // nothing is known of how others have to look
		}
		failures = append(failures, err)
	}
	if err := errors.Join(failures...); err != nil {
		return nil, err
	}
	return r.finish(tx.Size() / registryPageSize)
}

// contentsReader puts records together.
type contentsReader struct {
	contents *registryContents
	volumes  recordDecoder[volumeRecord]
	known    bool // the pool's record was read
	// unused are volumes that were allocated and not taken: one allocation for many.
	unused []volume
}

func newContentsReader() *contentsReader {
	return &contentsReader{
		contents: &registryContents{volumes: map[string]*volume{}, intents: map[uint64]intentRecord{}},
		volumes:  newRecordDecoder[volumeRecord](),
	}
}

// take decodes one record. It keeps nothing of key and value.
func (r *contentsReader) take(bucket string, key, value []byte) error {
	switch bucket {
	case bucketPool:
		return r.takePool(string(key), value)
	case bucketVolumes:
		record, err := decodeVolume(r.volumes, value)
		if err != nil || !isVolumeName(key) {
			return errors.Join(fmt.Errorf("volume %q: %w", key, errRecordDamaged), err)
		}
		r.contents.volumes[string(key)] = r.newVolume(record)
		r.used(record.ThinID)
	case bucketBases:
		record, err := decodeRecord[baseRecord](value)
		if err != nil {
			return fmt.Errorf("base %x: %w", key, err)
		}
		r.contents.bases = append(r.contents.bases, record)
		r.used(record.ThinID)
	case bucketIntents:
		record, err := decodeRecord[intentRecord](value)
		if err != nil || len(key) != 8 {
			return errors.Join(fmt.Errorf("intent %x: %w", key, errRecordDamaged), err)
		}
		r.contents.intents[binary.BigEndian.Uint64(key)] = record
		for _, id := range record.thinIDs() {
			r.used(id)
		}
	}
	return nil
}

func (r *contentsReader) newVolume(record volumeRecord) *volume {
	if len(r.unused) == 0 {
		r.unused = make([]volume, 64)
	}
	v := &r.unused[0]
	r.unused = r.unused[1:]
	v.record, v.state = record, volumeReady
	return v
}

func (r *contentsReader) takePool(key string, value []byte) (err error) {
	switch key {
	case keyPoolRecord:
		r.contents.pool, err = decodePoolRecord(value)
		r.known = err == nil
	case keyNextThinID:
		if len(value) != 4 {
			return fmt.Errorf("%w: next thin id of %d bytes", errRecordDamaged, len(value))
		}
		r.contents.nextThinID = max(r.contents.nextThinID, binary.BigEndian.Uint32(value))
	case keyFolded:
		r.contents.folded, err = parseFolded(value)
	}
	return err
}

// used notes a thin id that was given out.
func (r *contentsReader) used(id uint32) {
	r.contents.nextThinID = max(r.contents.nextThinID, id+1)
}

// finish gives the contents of a file that uses so many pages.
func (r *contentsReader) finish(inUse int64) (*registryContents, error) {
	if !r.known {
		return nil, fmt.Errorf("%w: no record of the pool", errRecordDamaged)
	}
	r.contents.inUse = inUse
	return r.contents, nil
}
