package thinpool

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// A label stands at the beginning of each device of a pool and says which device of which pool it is. There are two
// copies, in the first and in the last 64 KiB of the label area, written one after the other, so that a torn write leaves
// one that is whole. A copy is
//
//	0   magic, 16 bytes
//	16  format version, 4 bytes, little-endian
//	20  length of the text in bytes, 4 bytes
//	24  CRC-32C of the 24 bytes before it with itself as zero, and of the text
//	32  text: JSON, for people with nothing but dd at hand
const (
	labelMagic     = "csi-dm thin pool"
	labelVersion   = 2 // what is written; older ones are read, see upgrade.go
	labelSize      = 64 << 10
	labelHeader    = 32
	secondLabel    = labelArea - labelSize
	maximumDevices = 64
)

// labelState says how far the making of a pool has come. Only device 0's counts.
type labelState string

const (
	// stateCreating: nothing in the pool was acknowledged yet, and it is made over.
	stateCreating labelState = "creating"
	// stateReady: the pool exists. Nothing of it is ever formatted again.
	stateReady labelState = "ready"
)

var (
	errNoLabel      = errors.New("no label")
	errLabelDamaged = errors.New("label is damaged")
	errLabelNewer   = errors.New("label has a newer format")
)

type label struct {
	Version      uint32               `json:"-"`          // of the format: 1 to labelVersion
	Generation   uint64               `json:"generation"` // rises with each write; the higher of two copies counts
	PoolID       poolID               `json:"poolID"`
	PoolName     string               `json:"poolName"`
	State        labelState           `json:"state"`
	BlockSectors devicemapper.Sectors `json:"blockSectors"`
	Device       int                  `json:"device"` // which of Devices this one is
	Devices      []labelDevice        `json:"devices"`
	Areas        []area               `json:"areas"`
}

// labelDevice is a device as it was when it was added to the pool.
type labelDevice struct {
	ID      string               `json:"id"`
	Sectors devicemapper.Sectors `json:"sectors"`
}

func (l label) encode() ([]byte, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	if len(text) > labelSize-labelHeader {
		return nil, fmt.Errorf("label of %d bytes does not fit", len(text))
	}
	raw := make([]byte, labelSize)
	copy(raw, labelMagic)
	binary.LittleEndian.PutUint32(raw[16:], l.Version)
	binary.LittleEndian.PutUint32(raw[20:], uint32(len(text)))
	copy(raw[labelHeader:], text)
	binary.LittleEndian.PutUint32(raw[24:], labelChecksum(raw, len(text)))
	return raw, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func labelChecksum(raw []byte, length int) uint32 {
	sum := crc32.Checksum(raw[:24], castagnoli)
	return crc32.Update(sum, castagnoli, raw[labelHeader:labelHeader+length])
}

// decodeLabel reads one copy. What does not begin with the magic is errNoLabel.
func decodeLabel(raw []byte) (label, error) {
	if len(raw) < labelHeader || string(raw[:len(labelMagic)]) != labelMagic {
		return label{}, errNoLabel
	}
	version := binary.LittleEndian.Uint32(raw[16:])
	if version > labelVersion {
		return label{}, fmt.Errorf("%w: version %d, this driver knows %d", errLabelNewer, version, labelVersion)
	}
	length := binary.LittleEndian.Uint32(raw[20:])
	if int64(length) > int64(len(raw)-labelHeader) {
		return label{}, fmt.Errorf("%w: %d bytes of text", errLabelDamaged, length)
	}
	if stored, want := binary.LittleEndian.Uint32(raw[24:]), labelChecksum(raw, int(length)); stored != want {
		return label{}, fmt.Errorf("%w: checksum %08x instead of %08x", errLabelDamaged, stored, want)
	}
	l := label{Version: version}
	decoder := json.NewDecoder(bytes.NewReader(raw[labelHeader : labelHeader+length]))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&l); err != nil {
		return label{}, fmt.Errorf("%w: %w", errLabelDamaged, err)
	}
	if err := l.validate(); err != nil {
		return label{}, fmt.Errorf("%w: %w", errLabelDamaged, err)
	}
	return l, nil
}

// validate checks all that the rest of the package relies on, so that a label that was made up does no harm.
func (l label) validate() error {
	switch {
	case l.Version < 1 || l.Version > labelVersion:
		return fmt.Errorf("version %d", l.Version)
	case !poolIDPattern.MatchString(string(l.PoolID)):
		return fmt.Errorf("pool id %q", l.PoolID)
	case !poolNamePattern.MatchString(l.PoolName):
		return fmt.Errorf("pool name %q", l.PoolName)
	case l.State != stateCreating && l.State != stateReady:
		return fmt.Errorf("state %q", l.State)
	case validateBlockSize(l.BlockSectors.Bytes()) != nil || l.BlockSectors > devicemapper.MaxPoolBlockSectors:
		return fmt.Errorf("block size of %d sectors", l.BlockSectors)
	case len(l.Devices) == 0 || len(l.Devices) > maximumDevices:
		return fmt.Errorf("%d devices", len(l.Devices))
	case l.Device < 0 || l.Device >= len(l.Devices):
		return fmt.Errorf("device %d of %d", l.Device, len(l.Devices))
	}
	seen := map[string]bool{}
	for i, device := range l.Devices {
		if !poolIDPattern.MatchString(device.ID) || seen[device.ID] || device.Sectors > devicemapper.MaxSectors {
			return fmt.Errorf("device %d with id %q and %d sectors", i, device.ID, device.Sectors)
		}
		seen[device.ID] = true
	}
	return l.validateAreas()
}

func (l label) validateAreas() error {
	count, length := map[areaKind]int{}, map[areaKind]devicemapper.Sectors{}
	sorted := slices.Clone(l.Areas)
	slices.SortStableFunc(sorted, func(a, b area) int {
		if a.Device != b.Device {
			return a.Device - b.Device
		}
		return compare(a.Start, b.Start)
	})
	for i, a := range sorted {
		count[a.Kind]++
		length[a.Kind] += a.Length
		if a.Device < 0 || a.Device >= len(l.Devices) || a.Device != 0 && !l.anywhere(a.Kind) {
			return fmt.Errorf("area %s on device %d", a.Kind, a.Device)
		}
		size := l.Devices[a.Device].Sectors
		if a.Length == 0 || a.Start < devicemapper.SectorsOf(labelArea) || a.Start > size || a.Length > size-a.Start {
			return fmt.Errorf("area %s from %d, %d sectors, on a device of %d", a.Kind, a.Start, a.Length, size)
		}
		if a.Kind == areaData && a.Length%l.BlockSectors != 0 {
			return fmt.Errorf("data area of %d sectors is not whole blocks", a.Length)
		}
		if i > 0 && sorted[i-1].Device == a.Device && sorted[i-1].Start+sorted[i-1].Length > a.Start {
			return fmt.Errorf("areas %s and %s overlap", sorted[i-1].Kind, a.Kind)
		}
	}
	if count[areaRegistry] != 1 || count[areaMetadata] == 0 || count[areaSpare] == 0 || count[areaData] == 0 || len(count) != 4 ||
		l.Version == 1 && (count[areaMetadata] != 1 || count[areaSpare] != 1) {
		return fmt.Errorf("areas %v", count)
	}
	if length[areaSpare] < length[areaMetadata] {
		return fmt.Errorf("spare of %d sectors for metadata of %d", length[areaSpare], length[areaMetadata])
	}
	return nil
}

// anywhere tells whether areas of a kind may lie on other devices than the first. In version 1 metadata never grew.
func (l label) anywhere(kind areaKind) bool {
	return kind == areaData || l.Version > 1 && (kind == areaMetadata || kind == areaSpare)
}

func compare[T ~uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// readLabel reads both copies and gives the newer of those that are whole. Without any copy it is errNoLabel.
func readLabel(device io.ReaderAt) (label, error) {
	var best label
	var failures []error
	found := false
	for _, at := range []int64{0, secondLabel} {
		raw := make([]byte, labelSize)
		if _, err := device.ReadAt(raw, at); err != nil {
			return label{}, fmt.Errorf("read label: %w", err)
		}
		l, err := decodeLabel(raw)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		if !found || l.Generation > best.Generation {
			best, found = l, true
		}
	}
	if found {
		// A newer driver may have been cut between the two copies.
		for _, err := range failures {
			if errors.Is(err, errLabelNewer) {
				return label{}, err
			}
		}
		return best, nil
	}
	for _, err := range failures {
		if !errors.Is(err, errNoLabel) {
			return label{}, err
		}
	}
	return label{}, errNoLabel
}

// labelWriter is what a label is written to: a block device.
type labelWriter interface {
	io.WriterAt
	Sync() error
}

// writeLabel writes the second copy, then the first, each flushed before the next step.
func writeLabel(device labelWriter, l label) error {
	if err := l.validate(); err != nil {
		return fmt.Errorf("label is not valid: %w", err)
	}
	raw, err := l.encode()
	if err != nil {
		return err
	}
	for _, at := range []int64{secondLabel, 0} {
		if _, err := device.WriteAt(raw, at); err != nil {
			return fmt.Errorf("write label: %w", err)
		}
		if err := device.Sync(); err != nil {
			return fmt.Errorf("flush label: %w", err)
		}
	}
	return nil
}
