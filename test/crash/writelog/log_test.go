package writelog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const sector = 512

// recorded makes a log as the kernel writes it. Data is the entry's number, byte by byte.
func recorded(entries ...Entry) []byte {
	raw := make([]byte, sector)
	binary.LittleEndian.PutUint64(raw, superMagic)
	binary.LittleEndian.PutUint64(raw[8:], superVersion)
	binary.LittleEndian.PutUint64(raw[16:], uint64(len(entries)))
	binary.LittleEndian.PutUint32(raw[24:], sector)
	for n, entry := range entries {
		head := make([]byte, sector)
		binary.LittleEndian.PutUint64(head, uint64(entry.Offset/sector))
		binary.LittleEndian.PutUint64(head[8:], uint64(entry.Length/sector))
		binary.LittleEndian.PutUint64(head[16:], uint64(entry.Flags))
		binary.LittleEndian.PutUint64(head[24:], uint64(len(entry.Name)))
		copy(head[entrySize:], entry.Name)
		raw = append(raw, head...)
		if !entry.Is(Discard) {
			raw = append(raw, bytes.Repeat([]byte{byte(n + 1)}, int(entry.Length))...)
		}
	}
	return raw
}

// story: two writes that a flush makes durable, an acknowledgement, one with FUA, and a discard with the next flush.
var story = []Entry{
	0: {Offset: 0, Length: 1024},
	1: {Offset: 512, Length: 512},
	2: {Flags: Flush},
	3: {Flags: Mark, Name: "acknowledged"},
	4: {Flags: FUA, Offset: 2048, Length: 512},
	5: {Flags: Discard, Offset: 0, Length: 512},
	6: {Flags: Flush | FUA, Offset: 1536, Length: 512},
	7: {Flags: Mark, Name: "end"},
}

func readStory(t *testing.T) *Log {
	t.Helper()
	raw := recorded(story...)
	log, err := Read(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestRead(t *testing.T) {
	log := readStory(t)
	for n, entry := range log.Entries {
		entry.data = 0
		if entry != story[n] {
			t.Errorf("entry %d: got %+v, want %+v", n, entry, story[n])
		}
	}
	if len(log.Entries) != len(story) {
		t.Errorf("%d entries of %d", len(log.Entries), len(story))
	}
}

func TestMoments(t *testing.T) {
	log := readStory(t)
	if got, want := log.Moments(), []int{0, 4, 5, 8}; !slices.Equal(got, want) {
		t.Errorf("moments %v, want %v", got, want)
	}
	for n, want := range map[int][2]int{0: {0, 2}, 4: {4, 4}, 5: {5, 6}, 8: {8, 8}} {
		if first, end := log.Unflushed(n); first != want[0] || end != want[1] {
			t.Errorf("unflushed at %d: %d to %d, want %v", n, first, end, want)
		}
	}
	if got, want := log.Marks(0, 8), []string{"acknowledged", "end"}; !slices.Equal(got, want) {
		t.Errorf("marks %q, want %q", got, want)
	}
}

func TestReplay(t *testing.T) {
	log := readStory(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(2560); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		entries []int
		want    []byte // of each sector
	}{
		{nil, []byte{0, 0, 0, 0, 0}},
		{[]int{1}, []byte{0, 2, 0, 0, 0}},
		{Range(0, 5), []byte{1, 2, 0, 0, 5}},
	} {
		if err := log.Replay(file, step.entries...); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range step.want {
			if got := content[i*sector : (i+1)*sector]; !bytes.Equal(got, bytes.Repeat([]byte{want}, sector)) {
				t.Errorf("after %v: sector %d begins with %d, want %d", step.entries, i, got[0], want)
			}
		}
	}
}

func TestReadRefuses(t *testing.T) {
	good := recorded(story...)
	for name, change := range map[string]func(raw []byte) []byte{
		"nothing":       func([]byte) []byte { return make([]byte, sector) },
		"version":       func(raw []byte) []byte { raw[8] = 2; return raw },
		"sector size":   func(raw []byte) []byte { raw[25] = 3; return raw },
		"count":         func(raw []byte) []byte { raw[23] = 1; return raw },
		"one too many":  func(raw []byte) []byte { raw[16]++; return raw },
		"cut":           func(raw []byte) []byte { return raw[:len(raw)-sector] },
		"unknown flag":  func(raw []byte) []byte { raw[sector+16] = 0x20; return raw },
		"far away":      func(raw []byte) []byte { raw[sector+7] = 0x80; return raw },
		"too much data": func(raw []byte) []byte { raw[sector+12] = 1; return raw },
		"name":          func(raw []byte) []byte { raw[sector+24] = 1; return raw },
	} {
		raw := change(slices.Clone(good))
		if log, err := Read(bytes.NewReader(raw), int64(len(raw))); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v, %v", name, log, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(recorded(story...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		log, err := Read(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return
		}
		for n, entry := range log.Entries {
			if entry.Offset < 0 || entry.Length < 0 || !entry.Is(Discard) && entry.data+entry.Length > int64(len(raw)) && entry.Length > 0 && n < len(log.Entries)-1 {
				t.Errorf("entry %d: %+v", n, entry)
			}
		}
		for _, n := range log.Moments() {
			if first, end := log.Unflushed(n); first != n || end < first || end > len(log.Entries) {
				t.Errorf("unflushed at %d: %d to %d", n, first, end)
			}
		}
	})
}
