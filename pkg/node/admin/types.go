package admin

import (
	"errors"
	"path/filepath"
)

// Socket is where the agent with the given run directory answers.
func Socket(runDirectory string) string { return filepath.Join(runDirectory, "admin.sock") }

// ErrNotRunning reports that no agent answers at the socket.
var ErrNotRunning = errors.New("the node agent is not running")

// PoolInfo is what there is to say of a pool. Sizes are bytes.
type PoolInfo struct {
	Name string `json:"name"`
	// NotOpen says why the pool is not open; then everything else is empty.
	NotOpen string `json:"notOpen,omitempty"`

	DeviceName    string   `json:"deviceName,omitempty"`
	PoolID        string   `json:"poolID,omitempty"`
	BlockSize     int64    `json:"blockSize,omitempty"`
	Bases         []Base   `json:"bases,omitempty"`
	DataFiles     []string `json:"dataFiles,omitempty"`
	MetadataFile  string   `json:"metadataFile,omitempty"`
	DataLoopFile  string   `json:"dataLoopFile,omitempty"`
	Data          Space    `json:"data"`
	Metadata      Space    `json:"metadata"`
	BaseBytes     int64    `json:"baseBytes"`
	PromisedBytes int64    `json:"promisedBytes"`
	// MinimumFree is the data space below which no volume is accepted.
	MinimumFree int64 `json:"minimumFree"`

	UdevRunning                bool `json:"udevRunning"`
	DeferredRemovalEnabled     bool `json:"deferredRemovalEnabled"`
	DeferredRemovedDeviceCount int  `json:"deferredRemovedDeviceCount"`
	DeferredDeletionEnabled    bool `json:"deferredDeletionEnabled"`
	DeferredDeletedDeviceCount int  `json:"deferredDeletedDeviceCount"`

	DeviceMapperVersion string `json:"deviceMapperVersion,omitempty"`
	ThinPoolVersion     string `json:"thinPoolVersion,omitempty"`

	Mode            string `json:"mode,omitempty"`
	NeedsCheck      bool   `json:"needsCheck"`
	Admitting       bool   `json:"admitting"`
	AdmissionReason string `json:"admissionReason,omitempty"`
	Volumes         int    `json:"volumes"`
	LostVolumes     int    `json:"lostVolumes"`
	UnknownDevices  int    `json:"unknownThinDevices"`
	SnapshotBudget  int64  `json:"snapshotBudget"`
}

// Base is a formatted device of which volumes are snapshots.
type Base struct {
	FSType      string   `json:"fsType"`
	Size        int64    `json:"size"`
	MkfsOptions []string `json:"mkfsOptions,omitempty"`
	ThinID      uint32   `json:"thinID"`
	MappedBytes int64    `json:"mappedBytes"` // of the pool's data
}

// Space is a size and how much of it is used, in bytes.
type Space struct {
	Total     int64 `json:"total"`
	Used      int64 `json:"used"`
	Available int64 `json:"available"`
}

// VolumeInfo is what there is to say of a volume. Sizes are bytes.
type VolumeInfo struct {
	Name        string   `json:"name"`
	Pool        string   `json:"pool"`
	ThinID      uint32   `json:"thinID"`
	Size        int64    `json:"size"`
	FSType      string   `json:"fsType"`
	MkfsOptions []string `json:"mkfsOptions,omitempty"`
	// Owner is where a pod's inline ephemeral volume is mounted, below kubelet's directory; empty for all others.
	Owner string `json:"owner,omitempty"`
}

// Paths of the requests.
const (
	poolsPath   = "/v1/pools"
	volumesPath = "/v1/volumes"
)
