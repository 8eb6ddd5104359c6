package thinpool

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// The registry's records, as JSON. Buckets and their keys:
//
//	pool     "record"         → poolRecord
//	         "next thin id"   → 4 bytes, big-endian: above all ids that were ever used
//	         "folded"         → 8 bytes, big-endian: the last record of the journal that is in here
//	volumes  name             → volumeRecord
//	bases    thin id, 4 bytes → baseRecord
//	intents  number, 8 bytes  → intentRecord, in the order in which they were written
const (
	bucketPool    = "pool"
	bucketVolumes = "volumes"
	bucketBases   = "bases"
	bucketIntents = "intents"

	keyPoolRecord = "record"
	keyNextThinID = "next thin id"
	keyFolded     = "folded"
)

var buckets = []string{bucketPool, bucketVolumes, bucketBases, bucketIntents}

// registryVersion is the format of the records that are written. Records of older versions lack fields that came later, and are
// read as they are; see upgrade.go.
const registryVersion = 3

var (
	errRecordDamaged = errors.New("record is damaged")
	errRecordNewer   = errors.New("registry has a newer format")
)

// poolRecord ties the registry to its pool.
type poolRecord struct {
	Version      int                  `json:"version"`
	PoolID       poolID               `json:"poolID"`
	PoolName     string               `json:"poolName,omitempty"` // of a pool without a label; see takeover.go
	BlockSectors devicemapper.Sectors `json:"blockSectors"`
}

// formatRecord is a file system and its mkfs options; an empty type is none, for raw block volumes.
type formatRecord struct {
	Type    filesystem.Type `json:"type,omitempty"`
	Options []string        `json:"options,omitempty"`
}

func recordOf(f filesystem.Format) formatRecord {
	return formatRecord{Type: f.Type, Options: f.Options}
}

func (f formatRecord) format() filesystem.Format {
	return filesystem.Format{Type: f.Type, Options: f.Options}
}

func (f formatRecord) equal(other formatRecord) bool {
	return f.Type == other.Type && slices.Equal(f.Options, other.Options)
}

func (f formatRecord) validate() error {
	if f.Type == "" && len(f.Options) == 0 {
		return nil
	}
	if _, err := filesystem.ParseType(string(f.Type)); err != nil || len(f.Options) == 0 {
		return err
	}
	_, err := filesystem.ParseMkfsOptions(f.Type, strings.Join(f.Options, " "))
	return err
}

type volumeRecord struct {
	ThinID  uint32       `json:"thinID"`
	Size    int64        `json:"size"` // bytes
	Format  formatRecord `json:"format"`
	Created time.Time    `json:"created"`
	// Source is the name of the volume that it was made from (version 2).
	Source string `json:"source,omitempty"`
	// CreatedSize is the size that it was made with, in bytes, if it was grown since (version 2).
	CreatedSize int64 `json:"createdSize,omitempty"`
	// Owner that it lives and dies with, if it has one (version 3).
	Owner string `json:"owner,omitempty"`
}

func (r volumeRecord) validate() error {
	if r.ThinID > uint32(devicemapper.MaxThinID) || r.Size <= 0 || r.Size > maximumVolumeSize {
		return fmt.Errorf("thin id %d, size %d", r.ThinID, r.Size)
	}
	if r.CreatedSize < 0 || r.CreatedSize > r.Size {
		return fmt.Errorf("size %d, made with %d", r.Size, r.CreatedSize)
	}
	if r.Source != "" && !isVolumeName(r.Source) {
		return fmt.Errorf("source %q", r.Source)
	}
	if r.Owner != "" && !ownerPattern.MatchString(r.Owner) {
		return fmt.Errorf("owner %q", r.Owner)
	}
	return r.Format.validate()
}

type baseRecord struct {
	ThinID uint32       `json:"thinID"`
	Size   int64        `json:"size"` // bytes
	Format formatRecord `json:"format"`
	// UUID of the file system that was made: what a base that was swapped or damaged would not have.
	UUID string `json:"uuid"`
	// MappedBytes is what the base takes of the pool's data.
	MappedBytes int64     `json:"mappedBytes"`
	Created     time.Time `json:"created"`
}

func (r baseRecord) validate() error {
	if r.ThinID > uint32(devicemapper.MaxThinID) || r.Size <= 0 || r.Size > maximumVolumeSize || r.MappedBytes < 0 || r.MappedBytes > r.Size {
		return fmt.Errorf("thin id %d, size %d, mapped %d", r.ThinID, r.Size, r.MappedBytes)
	}
	if r.Format.Type == "" {
		return errors.New("no file system")
	}
	return r.Format.validate()
}

// intentKind is what an intent is about to do.
type intentKind string

const (
	// intentCreateVolume: done once its thin id exists.
	intentCreateVolume intentKind = "create volume"
	// intentDeleteVolume: the volume is gone for its owner; what remains is to give back its blocks.
	intentDeleteVolume intentKind = "delete volume"
	// intentCreateBase: undone unless its result was recorded, since nobody knows how far mkfs came.
	intentCreateBase intentKind = "create base"
	intentDeleteBase intentKind = "delete base"
	// intentCreateGroup: done once all its thin ids exist, undone if one does not.
	intentCreateGroup intentKind = "create group"
)

// intentRecord is written before the kernel is asked to do what it says, and removed with the result.
type intentRecord struct {
	Kind   intentKind    `json:"kind"`
	Name   string        `json:"name,omitempty"` // of the volume
	Volume *volumeRecord `json:"volume,omitempty"`
	Base   *baseRecord   `json:"base,omitempty"`
	// Group are the volumes of a group, which come to be together or not at all.
	Group []groupRecord `json:"group,omitempty"`
}

// groupRecord is one volume of a group.
type groupRecord struct {
	Name   string       `json:"name"`
	Volume volumeRecord `json:"volume"`
}

func (r intentRecord) validate() error {
	switch r.Kind {
	case intentCreateVolume, intentDeleteVolume:
		if r.Volume == nil || r.Base != nil || !isVolumeName(r.Name) {
			return fmt.Errorf("%s without a volume", r.Kind)
		}
		return r.Volume.validate()
	case intentCreateBase, intentDeleteBase:
		if r.Base == nil || r.Volume != nil || r.Name != "" {
			return fmt.Errorf("%s without a base", r.Kind)
		}
		return r.Base.validate()
	case intentCreateGroup:
		return r.validateGroup()
	}
	return fmt.Errorf("kind %q", r.Kind)
}

func (r intentRecord) validateGroup() error {
	if len(r.Group) == 0 || len(r.Group) > MaximumGroup || r.Volume != nil || r.Base != nil || r.Name != "" {
		return fmt.Errorf("%s of %d volumes", r.Kind, len(r.Group))
	}
	names, thins := map[string]bool{}, map[uint32]bool{}
	for _, member := range r.Group {
		if !isVolumeName(member.Name) || names[member.Name] || thins[member.Volume.ThinID] {
			return fmt.Errorf("%s with volume %q and thin id %d", r.Kind, member.Name, member.Volume.ThinID)
		}
		names[member.Name], thins[member.Volume.ThinID] = true, true
		if err := member.Volume.validate(); err != nil {
			return err
		}
	}
	return nil
}

// thinIDs are the thin devices that the intent is about.
func (r intentRecord) thinIDs() []uint32 {
	switch {
	case r.Volume != nil:
		return []uint32{r.Volume.ThinID}
	case r.Base != nil:
		return []uint32{r.Base.ThinID}
	}
	ids := make([]uint32, len(r.Group))
	for i, member := range r.Group {
		ids[i] = member.Volume.ThinID
	}
	return ids
}

type record interface{ validate() error }

func (r poolRecord) validate() error {
	if !poolIDPattern.MatchString(string(r.PoolID)) {
		return fmt.Errorf("pool id %q", r.PoolID)
	}
	if r.PoolName != "" && !poolNamePattern.MatchString(r.PoolName) {
		return fmt.Errorf("pool name %q", r.PoolName)
	}
	return validateBlockSize(r.BlockSectors.Bytes())
}

func encodeRecord[R record](r R) []byte {
	raw, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("record %T: %v", r, err)) // a struct of numbers and texts always can be
	}
	return raw
}

func decodeRecord[R record](raw []byte) (R, error) { return newRecordDecoder[R]().decode(raw) }

// recordDecoder decodes many records with the memory for one. After an error it is of no more use.
type recordDecoder[R record] struct {
	reader *bytes.Reader
	json   *json.Decoder
}

func newRecordDecoder[R record]() recordDecoder[R] {
	reader := bytes.NewReader(nil)
	decoder := json.NewDecoder(reader)
	decoder.DisallowUnknownFields()
	return recordDecoder[R]{reader, decoder}
}

func (d recordDecoder[R]) decode(raw []byte) (R, error) {
	var r R
	d.reader.Reset(raw)
	if err := d.json.Decode(&r); err != nil {
		return r, fmt.Errorf("%w: %w", errRecordDamaged, err)
	}
	if _, err := d.json.Token(); !errors.Is(err, io.EOF) {
		return r, fmt.Errorf("%w: text behind its end", errRecordDamaged)
	}
	return r, damagedUnless(r.validate())
}

// damagedUnless makes what a record's validation says an error of the record.
func damagedUnless(err error) error {
	if err != nil {
		err = fmt.Errorf("%w: %w", errRecordDamaged, err)
	}
	return err
}

// decodePoolRecord looks at the version before anything else: another version may have other fields.
func decodePoolRecord(raw []byte) (poolRecord, error) {
	var probe struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(raw, &probe); err != nil {
		return poolRecord{}, fmt.Errorf("%w: %w", errRecordDamaged, err)
	}
	if probe.Version > registryVersion {
		return poolRecord{}, fmt.Errorf("%w: version %d, this driver knows %d", errRecordNewer, probe.Version, registryVersion)
	}
	if probe.Version < 1 {
		return poolRecord{}, fmt.Errorf("%w: version %d", errRecordDamaged, probe.Version)
	}
	return decodeRecord[poolRecord](raw)
}

func thinIDKey(id uint32) []byte { return binary.BigEndian.AppendUint32(nil, id) }

func intentKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }
