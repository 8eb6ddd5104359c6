package thinpool

// Mode is the kernel's mode of a pool.
type Mode string

// The modes, in the order in which things get worse.
const (
	ModeReadWrite      Mode = "ReadWrite"
	ModeOutOfDataSpace Mode = "OutOfDataSpace"
	ModeReadOnly       Mode = "ReadOnly"
	ModeFailed         Mode = "Failed"
)

// Status is a pool's state at one moment.
type Status struct {
	// Identity of the pool, 32 hexadecimal digits, recorded in it when it was made.
	PoolID string
	// Name of the pool's device mapper device.
	DeviceName string
	// Bytes.
	BlockSize int64
	// Data space and metadata space, in bytes. Used metadata contains the kernel's own reserve (at most 16 MiB).
	Data, Metadata Space
	// Bytes of data space that the bases hold.
	BaseBytes int64
	// Sum of the volumes' sizes, in bytes.
	PromisedBytes int64
	// Volumes in the registry.
	Volumes int
	// Bases in the registry.
	Bases int
	// Snapshots that can still be made of the kernel's 2^24 - 1.
	SnapshotBudget int64
	Mode           Mode
	// The kernel demands a check of the metadata before it writes again.
	NeedsCheck bool
	// Whether new volumes are admitted; if not, AdmissionReason says why in one sentence.
	Admitting       bool
	AdmissionReason string
	// Whether the pool stands on a loop file.
	Loopback bool
	// Paths of the devices that the pool was opened with.
	Devices []string
	// Versions of device mapper and the thin-pool target, as "4.47.0".
	DeviceMapperVersion, ThinPoolVersion string
}

// Space is a size and how much of it is used, in bytes.
type Space struct {
	Total, Used int64
}

// Free is what is not used, in bytes.
func (s Space) Free() int64 { return s.Total - s.Used }
