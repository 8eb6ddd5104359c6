package history

import "fmt"

// ChunksPerFile is how many chunks lie in one file: chunk c is in file c / ChunksPerFile, and a Sync is about one file. A raw
// volume is a single file.
const ChunksPerFile = 8

// History is what follows from all events so far. It is a plain value for JSON, and not for concurrent use.
type History struct {
	Volumes map[string]*Volume `json:"volumes"`
}

// New gives the history of a pool that does not exist yet.
func New() *History { return &History{Volumes: map[string]*Volume{}} }

// Volume is what is known of a volume. One that is not in History.Volumes must not be there.
type Volume struct {
	Type string `json:"type"`
	// Must: it was acknowledged to be there; else it may be, since an operation that makes or deletes it was under way.
	Must bool `json:"must"`
	// Deleting: a deletion has begun.
	Deleting bool `json:"deleting,omitempty"`
	// Sizes that it may have, in bytes: one, or two while it is being grown.
	Sizes []int64 `json:"sizes"`
	// Chunks that were ever written, by number.
	Chunks map[int]*Chunk `json:"chunks,omitempty"`
	// Fitting: its file system is being grown. Unfitted: that was cut, here or in what it is a snapshot of.
	Fitting  bool `json:"fitting,omitempty"`
	Unfitted bool `json:"unfitted,omitempty"`
	// Source while its snapshot is being taken: what is written to that meanwhile may be in it.
	Source string `json:"source,omitempty"`
}

// Chunk is what a chunk may hold.
type Chunk struct {
	// Versions in the order in which they were written. The first is durable; 0 stands for zeros, or a file that does not
	// reach so far. Each sector of the chunk holds one of them.
	Versions []uint64 `json:"versions"`
	// Written is the index of the newest version whose write has returned.
	Written int `json:"written"`
}

// Apply takes an event in. An error is a mistake of whoever tells them.
func (h *History) Apply(e Event) error {
	if e.Kind == Create || e.Kind == Snapshot {
		return h.make(e)
	}
	v := h.Volumes[e.Volume]
	if v == nil {
		return fmt.Errorf("%s %s of volume %s, which does not exist", e.Stage, e.Kind, e.Volume)
	}
	switch e.Kind {
	case Grow:
		v.grow(e)
	case Fit:
		v.Fitting = e.Stage == Begin
	case Delete:
		v.Must, v.Deleting = false, true
		if e.Stage == Done {
			delete(h.Volumes, e.Volume)
		}
	case Write:
		return h.write(v, e)
	case Sync:
		v.sync(e.Chunk / ChunksPerFile)
	case Found:
		v.Must, v.Deleting, v.Source, v.Sizes = true, false, "", []int64{e.Size}
	case Missing:
		delete(h.Volumes, e.Volume)
	default:
		return fmt.Errorf("unknown event %q", e.Kind)
	}
	return nil
}

// make begins or acknowledges a new volume.
func (h *History) make(e Event) error {
	v := h.Volumes[e.Volume]
	if (v == nil) != (e.Stage == Begin) {
		return fmt.Errorf("%s %s of volume %s, which exists: %t", e.Stage, e.Kind, e.Volume, v != nil)
	}
	if e.Stage == Done {
		v.Must, v.Source = true, ""
		return nil
	}
	v = &Volume{Type: e.Type, Sizes: []int64{e.Size}, Chunks: map[int]*Chunk{}}
	if e.Kind == Snapshot {
		source := h.Volumes[e.Source]
		if source == nil {
			return fmt.Errorf("snapshot of volume %s, which does not exist", e.Source)
		}
		v.Type, v.Source, v.Unfitted = source.Type, e.Source, source.Unfitted
		for n, chunk := range source.Chunks {
			// All that its owner believes written at this moment must be in it, synced or not.
			v.Chunks[n] = &Chunk{Versions: append([]uint64(nil), chunk.Versions[chunk.Written:]...)}
		}
	}
	h.Volumes[e.Volume] = v
	return nil
}

func (v *Volume) grow(e Event) {
	if e.Stage == Begin {
		v.Sizes = append(v.Sizes, e.Size)
		return
	}
	v.Sizes = []int64{e.Size}
}

func (h *History) write(v *Volume, e Event) error {
	if e.Stage == Begin {
		v.begin(e)
		for _, other := range h.Volumes {
			if other.Source == e.Volume {
				other.begin(e)
			}
		}
		return nil
	}
	chunk := v.Chunks[e.Chunk]
	for i := range chunk.Versions {
		if chunk.Versions[i] == e.Version {
			chunk.Written = i
			return nil
		}
	}
	return fmt.Errorf("write of chunk %d of volume %s is done, version %d, and was not begun", e.Chunk, e.Volume, e.Version)
}

// begin notes a version that the chunk may have from now on.
func (v *Volume) begin(e Event) {
	if v.Chunks == nil {
		v.Chunks = map[int]*Chunk{} // empty ones are left out of JSON
	}
	chunk := v.Chunks[e.Chunk]
	if chunk == nil {
		chunk = &Chunk{Versions: []uint64{0}}
		v.Chunks[e.Chunk] = chunk
	}
	chunk.Versions = append(chunk.Versions, e.Version)
}

// sync makes durable what was written to a file.
func (v *Volume) sync(file int) {
	for n, chunk := range v.Chunks {
		if v.Type == Raw || n/ChunksPerFile == file {
			chunk.Versions, chunk.Written = chunk.Versions[chunk.Written:], 0
		}
	}
}

// Crashed says that all operations that were under way have ended, whichever way.
func (h *History) Crashed() {
	for _, v := range h.Volumes {
		v.Source = ""
		v.Unfitted, v.Fitting = v.Unfitted || v.Fitting, false
		for _, chunk := range v.Chunks {
			// What was written and not synced may be lost: the newest that must be there is the durable one.
			chunk.Written = 0
		}
	}
}
