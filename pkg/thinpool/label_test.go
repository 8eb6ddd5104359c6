package thinpool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"slices"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// disk is a device in memory that can be cut: writes that were not flushed are lost, and the write at which it is cut is
// torn in the middle.
type disk struct {
	data, flushed []byte
	writes        int
	cutAt         int // the write that tears; 0: none
	torn          int // how many bytes of it are written
}

var errCut = errors.New("cut")

func newDisk(size int) *disk { return &disk{data: make([]byte, size), flushed: make([]byte, size)} }

func (d *disk) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > int64(len(d.data)) {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(p, d.data[at:]), nil
}

func (d *disk) WriteAt(p []byte, at int64) (int, error) {
	if d.writes++; d.writes == d.cutAt {
		copy(d.flushed[at:], p[:d.torn])
		d.data = slices.Clone(d.flushed)
		return 0, errCut
	}
	return copy(d.data[at:], p), nil
}

func (d *disk) Sync() error { d.flushed = slices.Clone(d.data); return nil }

func exampleLabel(t testing.TB) label {
	t.Helper()
	sizes := []int64{4 << 30, 1 << 30}
	areas, err := plan(sizes, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	l := label{Version: labelVersion, Generation: 1, PoolID: newPoolID(), PoolName: "pool", State: stateCreating, BlockSectors: 128, Areas: areas}
	for _, size := range sizes {
		l.Devices = append(l.Devices, labelDevice{ID: randomID(), Sectors: devicemapper.SectorsOf(size)})
	}
	return l
}

func TestLabelRoundTrip(t *testing.T) {
	d, want := newDisk(labelArea), exampleLabel(t)
	if _, err := readLabel(d); !errors.Is(err, errNoLabel) {
		t.Fatalf("label of a blank device: %v", err)
	}
	if err := writeLabel(d, want); err != nil {
		t.Fatal(err)
	}
	got, err := readLabel(d)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

// TestLabelTornWrite tears each write of an update: the label that is read is the old one or the new one, whole.
func TestLabelTornWrite(t *testing.T) {
	old := exampleLabel(t)
	renewed := old
	renewed.Generation, renewed.State = 2, stateReady
	for _, torn := range []int{0, 1, 16, 24, 100, 512, 4096, labelSize} {
		for cut := 1; cut <= 2; cut++ {
			d := newDisk(labelArea)
			if err := writeLabel(d, old); err != nil {
				t.Fatal(err)
			}
			d.writes, d.cutAt, d.torn = 0, cut, torn
			if err := writeLabel(d, renewed); !errors.Is(err, errCut) {
				t.Fatalf("cut %d: %v", cut, err)
			}
			got, err := readLabel(d)
			want := old
			if cut == 2 || torn >= 4096 {
				want = renewed // the second copy was whole
			}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("write %d torn behind %d bytes: generation %d, %v; want %d", cut, torn, got.Generation, err, want.Generation)
			}
		}
		d := newDisk(labelArea)
		d.cutAt, d.torn = 1, torn
		if err := writeLabel(d, old); !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		if got, err := readLabel(d); err == nil && !reflect.DeepEqual(got, old) || err != nil && !errors.Is(err, errNoLabel) && !errors.Is(err, errLabelDamaged) {
			t.Errorf("first write torn behind %d bytes: %+v, %v", torn, got, err)
		}
	}
}

func TestLabelRefuses(t *testing.T) {
	encode := func(change func(*label)) []byte {
		l := exampleLabel(t)
		change(&l)
		raw, err := l.encode()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	none := func(*label) {}
	bad := map[string]func(*label){
		"pool id":           func(l *label) { l.PoolID = "../../etc" },
		"pool name":         func(l *label) { l.PoolName = "a b" },
		"state":             func(l *label) { l.State = "half" },
		"block size":        func(l *label) { l.BlockSectors = 100 },
		"block size huge":   func(l *label) { l.BlockSectors = devicemapper.MaxSectors + 1 },
		"device":            func(l *label) { l.Device = 2 },
		"negative device":   func(l *label) { l.Device = -1 },
		"no devices":        func(l *label) { l.Devices = nil },
		"same device":       func(l *label) { l.Devices[1].ID = l.Devices[0].ID },
		"area beyond":       func(l *label) { l.Areas[3].Length += 128 },
		"area over label":   func(l *label) { l.Areas[0].Start = 8 },
		"area wraps":        func(l *label) { l.Areas[3].Length = ^devicemapper.Sectors(0) - 127 },
		"areas overlap":     func(l *label) { l.Areas[1].Start -= 8 },
		"area of no device": func(l *label) { l.Areas[4].Device = 7 },
		"no registry":       func(l *label) { l.Areas = l.Areas[1:] },
		"two registries":    func(l *label) { l.Areas = append(l.Areas, l.Areas[0]) },
		"half a block":      func(l *label) { l.Areas[3].Length-- },
		"unknown area":      func(l *label) { l.Areas[0].Kind = "swap" },
		"no version":        func(l *label) { l.Version = 0 },
		"small spare":       func(l *label) { l.Areas[2].Length -= 8 },
		"no spare":          func(l *label) { l.Areas = slices.Delete(slices.Clone(l.Areas), 2, 3) },
		"registry elsewhere": func(l *label) {
			l.Areas[0] = area{Kind: areaRegistry, Device: 1, Start: l.Areas[4].Start, Length: 128}
			l.Areas[4].Start, l.Areas[4].Length = l.Areas[4].Start+128, l.Areas[4].Length-128
		},
		"version 1 with more metadata": func(l *label) {
			l.Version, l.Areas = 1, l.grownMetadata()
		},
	}
	for name, change := range bad {
		if _, err := decodeLabel(encode(change)); !errors.Is(err, errLabelDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		l := exampleLabel(t)
		change(&l)
		if err := writeLabel(newDisk(labelArea), l); err == nil {
			t.Errorf("%s: was written", name)
		}
	}
	// What version 1 did not have is well in version 2.
	if _, err := decodeLabel(encode(func(l *label) { l.Areas = l.grownMetadata() })); err != nil {
		t.Errorf("more metadata: %v", err)
	}
	flipped := encode(none)
	flipped[labelHeader+10] ^= 1
	if _, err := decodeLabel(flipped); !errors.Is(err, errLabelDamaged) {
		t.Errorf("a flipped bit: %v", err)
	}
	newer := encode(none)
	binary.LittleEndian.PutUint32(newer[16:], labelVersion+1)
	if _, err := decodeLabel(newer); !errors.Is(err, errLabelNewer) {
		t.Errorf("a newer version: %v", err)
	}
	long := encode(none)
	binary.LittleEndian.PutUint32(long[20:], labelSize)
	if _, err := decodeLabel(long); !errors.Is(err, errLabelDamaged) {
		t.Errorf("a length beyond the end: %v", err)
	}
}

// grownMetadata is the areas with a MiB of metadata and spare taken from the last area.
func (l label) grownMetadata() []area {
	areas := slices.Clone(l.Areas)
	last := &areas[len(areas)-1]
	last.Length -= 4096
	end := last.Start + last.Length
	return append(areas, area{Kind: areaMetadata, Device: last.Device, Start: end, Length: 2048}, area{Kind: areaSpare, Device: last.Device, Start: end + 2048, Length: 2048})
}

func TestLabelOfMostDevicesFits(t *testing.T) {
	sizes := make([]int64, maximumDevices)
	l := label{Version: labelVersion, PoolID: newPoolID(), PoolName: "pool", State: stateReady, BlockSectors: 128, Device: maximumDevices - 1}
	for i := range sizes {
		sizes[i] = 16 << 40
		l.Devices = append(l.Devices, labelDevice{ID: randomID(), Sectors: devicemapper.SectorsOf(sizes[i])})
	}
	var err error
	if l.Areas, err = plan(sizes, 64<<10); err != nil {
		t.Fatal(err)
	}
	if err := writeLabel(newDisk(labelArea), l); err != nil {
		t.Error(err)
	}
}

func FuzzDecodeLabel(f *testing.F) {
	raw, err := exampleLabel(f).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.TrimRight(raw, "\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) >= labelHeader && len(raw) < labelSize {
			// Make the checksum right, so that what lies behind it is reached.
			raw = append(slices.Clone(raw), make([]byte, labelSize-len(raw))...)
			if length := binary.LittleEndian.Uint32(raw[20:]); int64(length) <= labelSize-labelHeader {
				binary.LittleEndian.PutUint32(raw[24:], labelChecksum(raw, int(length)))
			}
		}
		l, err := decodeLabel(raw)
		if err != nil {
			return
		}
		if err := l.validate(); err != nil {
			t.Fatalf("decoded and not valid: %v", err)
		}
		again, err := l.encode()
		if err != nil {
			return // longer than a label when written without blanks; cannot happen, but is an error and no panic
		}
		if other, err := decodeLabel(again); err != nil || !reflect.DeepEqual(l, other) {
			t.Errorf("%+v became %+v, %v", l, other, err)
		}
	})
}
