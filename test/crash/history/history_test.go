package history

import (
	"encoding/json"
	"reflect"
	"testing"
)

func told(t *testing.T, events ...Event) *History {
	t.Helper()
	h := New()
	for _, e := range events {
		if err := h.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func write(volume string, chunk int, version uint64) []Event {
	return []Event{
		{Kind: Write, Stage: Begin, Volume: volume, Chunk: chunk, Version: version},
		{Kind: Write, Stage: Done, Volume: volume, Chunk: chunk, Version: version},
	}
}

func made(volume string) []Event {
	return []Event{{Kind: Create, Stage: Begin, Volume: volume, Type: "ext4", Size: 1}, {Kind: Create, Stage: Done, Volume: volume}}
}

func TestVolumes(t *testing.T) {
	h := told(t, append(made("a"), append(made("b"), append(made("c"),
		Event{Kind: Create, Stage: Begin, Volume: "d", Type: "xfs", Size: 5},
		Event{Kind: Delete, Stage: Begin, Volume: "b"},
		Event{Kind: Delete, Stage: Begin, Volume: "c"}, Event{Kind: Delete, Stage: Done, Volume: "c"},
		Event{Kind: Grow, Stage: Begin, Volume: "a", Size: 2},
	)...)...)...)
	for name, want := range map[string]*Volume{
		"a": {Type: "ext4", Must: true, Sizes: []int64{1, 2}},
		"b": {Type: "ext4", Deleting: true, Sizes: []int64{1}},
		"d": {Type: "xfs", Sizes: []int64{5}},
	} {
		want.Chunks = map[int]*Chunk{}
		if got := h.Volumes[name]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	if len(h.Volumes) != 3 {
		t.Errorf("volumes: %v", h.Volumes)
	}
	for _, e := range []Event{
		{Kind: Grow, Stage: Done, Volume: "a", Size: 2}, {Kind: Found, Volume: "b", Size: 1}, {Kind: Missing, Volume: "d"},
	} {
		if err := h.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := h.Volumes["a"], h.Volumes["b"]; len(a.Sizes) != 1 || a.Sizes[0] != 2 || !b.Must || b.Deleting || len(h.Volumes) != 2 {
		t.Errorf("after all: %+v, %+v of %d", a, b, len(h.Volumes))
	}
}

func expectVersions(t *testing.T, h *History, volume string, chunk int, want ...uint64) {
	t.Helper()
	c := h.Volumes[volume].Chunks[chunk]
	if c == nil && want == nil {
		return
	}
	if c == nil || !reflect.DeepEqual(c.Versions, want) {
		t.Errorf("chunk %d of %s may have %+v, want %v", chunk, volume, c, want)
	}
}

func TestSyncMakesAFileDurable(t *testing.T) {
	h := told(t, made("a")...)
	for _, e := range append(append(append(write("a", 0, 1), write("a", 0, 2)...), write("a", ChunksPerFile, 3)...),
		Event{Kind: Write, Stage: Begin, Volume: "a", Chunk: 1, Version: 4},
		Event{Kind: Sync, Volume: "a", Chunk: 0},
		Event{Kind: Write, Stage: Begin, Volume: "a", Chunk: 0, Version: 5}) {
		if err := h.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	expectVersions(t, h, "a", 0, 2, 5)
	expectVersions(t, h, "a", 1, 0, 4) // not even written
	expectVersions(t, h, "a", ChunksPerFile, 0, 3)
	expectVersions(t, h, "a", 2)
}

// A snapshot has what was written when it began, and may have what was written until it was acknowledged.
func TestSnapshotOfAVolumeInUse(t *testing.T) {
	h := told(t, made("a")...)
	events := write("a", 0, 1)
	events = append(events, write("a", 0, 2)...)
	events = append(events, Event{Kind: Write, Stage: Begin, Volume: "a", Chunk: 0, Version: 3},
		Event{Kind: Snapshot, Stage: Begin, Volume: "s", Source: "a", Size: 1})
	events = append(events, write("a", 1, 4)...)
	events = append(events, Event{Kind: Snapshot, Stage: Done, Volume: "s"})
	events = append(events, write("a", 1, 5)...)
	events = append(events, write("s", 0, 6)...)
	for _, e := range events {
		if err := h.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	expectVersions(t, h, "a", 0, 0, 1, 2, 3)
	expectVersions(t, h, "a", 1, 0, 4, 5)
	expectVersions(t, h, "s", 0, 2, 3, 6)
	expectVersions(t, h, "s", 1, 0, 4)
	if s := h.Volumes["s"]; !s.Must || s.Type != "ext4" {
		t.Errorf("snapshot: %+v", s)
	}
}

func TestCrashEndsWhatWasUnderWay(t *testing.T) {
	h := told(t, append(append(made("a"), write("a", 0, 1)...), Event{Kind: Snapshot, Stage: Begin, Volume: "s", Source: "a", Size: 1})...)
	raw, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	after := New()
	if err := json.Unmarshal(raw, after); err != nil {
		t.Fatal(err)
	}
	after.Crashed()
	for _, e := range append([]Event{{Kind: Found, Volume: "s", Size: 1}}, write("a", 0, 2)...) {
		if err := after.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	expectVersions(t, after, "a", 0, 0, 1, 2)
	expectVersions(t, after, "s", 0, 1)
	// What was lost must not count as written for the next snapshot.
	after.Crashed()
	if err := after.Apply(Event{Kind: Snapshot, Stage: Begin, Volume: "t", Source: "a", Size: 1}); err != nil {
		t.Fatal(err)
	}
	expectVersions(t, after, "t", 0, 0, 1, 2)
}

func TestGrowthOfAFileSystemThatWasCut(t *testing.T) {
	h := told(t, append(made("a"), append(made("b"), Event{Kind: Fit, Stage: Begin, Volume: "a"},
		Event{Kind: Fit, Stage: Begin, Volume: "b"}, Event{Kind: Fit, Stage: Done, Volume: "b"})...)...)
	h.Crashed()
	if err := h.Apply(Event{Kind: Snapshot, Stage: Begin, Volume: "s", Source: "a", Size: 1}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"a": true, "b": false, "s": true} {
		if h.Volumes[name].Unfitted != want {
			t.Errorf("%s: %+v", name, h.Volumes[name])
		}
	}
}

func TestMistakes(t *testing.T) {
	for name, e := range map[string]Event{
		"created twice":     {Kind: Create, Stage: Begin, Volume: "a"},
		"never begun":       {Kind: Create, Stage: Done, Volume: "x"},
		"no source":         {Kind: Snapshot, Stage: Begin, Volume: "x", Source: "y"},
		"no volume":         {Kind: Sync, Volume: "x"},
		"write not begun":   {Kind: Write, Stage: Done, Volume: "a", Chunk: 0, Version: 9},
		"kind of its own":   {Kind: "guess", Volume: "a"},
		"deleted elsewhere": {Kind: Delete, Stage: Done, Volume: "x"},
	} {
		h := told(t, append(made("a"), write("a", 0, 1)...)...)
		if h.Apply(e) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
