package thinpool

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"testing"
)

// memoryJournal is a disk that forgets: what is written lies in its cache until it is flushed, and a cut keeps of that the
// sectors that chance wants.
type memoryJournal struct {
	durable, cache []byte
	dirty          map[int]bool // sectors
}

func newMemoryJournal() *memoryJournal {
	return &memoryJournal{durable: make([]byte, journalSize), cache: make([]byte, journalSize), dirty: map[int]bool{}}
}

func (m *memoryJournal) ReadAt(p []byte, at int64) (int, error) { return copy(p, m.cache[at:]), nil }

func (m *memoryJournal) WriteAt(p []byte, at int64) (int, error) {
	for sector := int(at) / 512; sector < (int(at)+len(p))/512; sector++ {
		m.dirty[sector] = true
	}
	return copy(m.cache[at:], p), nil
}

func (m *memoryJournal) Flush() error {
	for sector := range m.dirty {
		copy(m.durable[sector*512:(sector+1)*512], m.cache[sector*512:])
	}
	clear(m.dirty)
	return nil
}

// cut is a power cut.
func (m *memoryJournal) cut(r *rand.Rand) {
	for sector := range m.dirty {
		if r.IntN(2) == 0 {
			copy(m.durable[sector*512:(sector+1)*512], m.cache[sector*512:])
		}
	}
	clear(m.dirty)
	copy(m.cache, m.durable)
}

// unflushed is a disk that writes and does not come to flush.
type unflushed struct{ *memoryJournal }

func (unflushed) Flush() error { return errors.New("cut") }

// model is what bbolt holds: keys of one bucket, and the sequence that was folded last.
type model struct {
	values map[string]string
	folded uint64
}

func (m *model) fold(writes []write, last uint64) {
	for _, w := range writes {
		if w.value == nil {
			delete(m.values, string(w.key))
		} else {
			m.values[string(w.key)] = string(w.value)
		}
	}
	m.folded = last
}

func randomWrites(r *rand.Rand) []write {
	writes := make([]write, 1+r.IntN(6))
	for i := range writes {
		writes[i] = write{bucketVolumes, fmt.Appendf(nil, "key-%d", r.IntN(40)), nil}
		if r.IntN(3) > 0 {
			writes[i].value = bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(1<<(1+r.IntN(13))))
		}
	}
	return writes
}

// TestJournalReplay commits and folds at random, cuts power in the middle of it, and replays: all that was acknowledged is
// there, in order, and of the commit that was cut all or nothing.
func TestJournalReplay(t *testing.T) {
	cuts, halves := 0, 0
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 7))
		disk, bolt := newMemoryJournal(), &model{values: map[string]string{}}
		want := map[string]string{}
		apply := func(to map[string]string, writes []write) { (&model{values: to}).fold(writes, 0) }
		for range 1 + r.IntN(4) { // lives
			writes, last, err := readJournal(disk, bolt.folded)
			if err != nil {
				t.Fatal(err)
			}
			bolt.fold(writes, last)
			if !maps.Equal(bolt.values, want) {
				t.Fatalf("seed %d: replayed %d keys, want %d", seed, len(bolt.values), len(want))
			}
			j := &journal{storage: disk, sequence: last}
			var unfolded []write
			for range r.IntN(400) {
				writes := randomWrites(r)
				fold := func() {
					bolt.fold(unfolded, j.sequence)
					j.folded()
					unfolded = nil
				}
				if r.IntN(60) == 0 {
					fold()
				}
				err := j.append(writes)
				if errors.Is(err, errJournalFull) {
					fold()
					err = j.append(writes)
				}
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				unfolded = append(unfolded, writes...)
				apply(want, writes)
			}
			// The last one is written and not flushed.
			j.storage = unflushed{disk}
			lost := randomWrites(r)
			if err := j.append(lost); err == nil {
				t.Fatal("a journal that cannot flush acknowledged")
			}
			disk.cut(r)
			cuts++
			after, _, err := readJournal(disk, bolt.folded)
			if err != nil {
				t.Fatal(err)
			}
			if len(after) == len(unfolded)+len(lost) {
				apply(want, lost) // it came through: that is as good
				halves++
			}
		}
	}
	if halves == 0 || halves == cuts {
		t.Errorf("of %d commits that were cut %d came through: the test shows little", cuts, halves)
	}
}

func TestWritesRoundTrip(t *testing.T) {
	writes := []write{{"a", []byte("key"), nil}, {"", []byte{}, []byte{}}, {"b", []byte("k"), []byte("value")}}
	raw := appendRecord(nil, 42, writes)
	if len(raw) != journalSlot {
		t.Errorf("%d bytes", len(raw))
	}
	sequence, parsed, ok := parseRecord(raw)
	if !ok || sequence != 42 || !reflect.DeepEqual(parsed, writes) {
		t.Errorf("%d, %v, %t", sequence, parsed, ok)
	}
	for at := range journalHeader + 30 {
		flipped := bytes.Clone(raw)
		flipped[at] ^= 1
		if _, _, ok := parseRecord(flipped); ok && at < len(appendWrites(nil, writes))+journalHeader {
			t.Errorf("byte %d was changed and nobody noticed", at)
		}
	}
}

func TestJournalRefusesWhatDoesNotFit(t *testing.T) {
	j := &journal{storage: newMemoryJournal()}
	if err := j.append([]write{{bucketVolumes, []byte("k"), make([]byte, journalPayload)}}); !errors.Is(err, errJournalFull) {
		t.Error(err)
	}
	n := 0
	for ; n <= journalSlots; n++ {
		if err := j.append([]write{{bucketVolumes, []byte("k"), nil}}); err != nil {
			break
		}
	}
	if n != journalSlots {
		t.Errorf("%d records in %d slots", n, journalSlots)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(appendRecord(nil, 1, []write{{bucketIntents, intentKey(7), []byte("{}")}, {bucketVolumes, []byte("v"), nil}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		sequence, writes, ok := parseRecord(raw)
		if !ok {
			return
		}
		again, same, ok := parseRecord(appendRecord(nil, sequence, writes))
		if !ok || again != sequence || len(same) != len(writes) {
			t.Errorf("%d, %v became %d, %v, %t", sequence, writes, again, same, ok)
		}
	})
}
