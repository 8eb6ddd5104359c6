package history

// Kind is what an event is about.
type Kind string

// The kinds, each with the fields of Event that it uses besides Stage and Volume.
const (
	Create   Kind = "create"   // Type, Size
	Snapshot Kind = "snapshot" // Source, Size
	Grow     Kind = "grow"     // Size
	Delete   Kind = "delete"
	Write    Kind = "write" // Chunk, Version
	Sync     Kind = "sync"  // Chunk: an fsync of the file that the chunk is in, acknowledged
	Fit      Kind = "fit"   // the file system is grown to the device's size
	Found    Kind = "found" // Size: the volume was there after a crash
	Missing  Kind = "missing"
)

// Stage of an operation.
type Stage string

// The stages. Of a write, Done means that the system call has returned; what makes it durable is a Sync. Sync, Found and
// Missing are Done only.
const (
	Begin Stage = "begin"
	Done  Stage = "done"
)

// Raw is the type of a volume without a file system.
const Raw = "raw"

// Event is a step of an operation. It must be told in the order in which things happen: Begin before the operation can have
// an effect, Done after it was acknowledged.
type Event struct {
	Kind    Kind   `json:"kind"`
	Stage   Stage  `json:"stage"`
	Volume  string `json:"volume"`
	Source  string `json:"source,omitempty"`
	Type    string `json:"type,omitempty"` // a file system, or Raw
	Size    int64  `json:"size,omitempty"` // bytes
	Chunk   int    `json:"chunk,omitempty"`
	Version uint64 `json:"version,omitempty"`
}
