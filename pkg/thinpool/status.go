package thinpool

import (
	"context"
	"fmt"
	"slices"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

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
	// Sum of the sizes of those volumes that have an owner, in bytes.
	OwnedBytes int64
	// Volumes in the registry, and how many of them have an owner.
	Volumes, OwnedVolumes int
	// Bases in the registry.
	Bases int
	// Snapshots that can still be made of the kernel's 2^24 - 1.
	SnapshotBudget int64
	Mode           Mode
	// The metadata needs a check: the kernel demands one before it writes again, or reading the metadata failed since the pool was
	// opened, or since Check found it sound.
	NeedsCheck bool
	// What keeps the pool from serving all its volumes, with the device and the kernel's mode; empty for a pool that does.
	// Devices are looked at by Watch alone.
	Fault string
	// The part of Fault that is about the devices below: which does not give what it holds, or does not answer.
	DeviceFault string
	// Whether new volumes with a file system are admitted; if not, AdmissionReason says why in one sentence.
	Admitting       bool
	AdmissionReason string
	// What AdmissionReason says, for errors.Is: ErrBelowMinFree, ErrPoolFull, ErrPoolFailed, ErrThinIDs,
	// ErrRegistryFull; nil where volumes are admitted.
	AdmissionError error
	// What the kernel does now: whether a full pool fails writes at once, and whether discards reach the devices below.
	ErrorIfNoSpace, DiscardPassdown bool
	// Volumes and bases whose deletion is durable and whose blocks are not given back yet, and how many bytes of data space
	// they still hold, as far as that was looked at; blocks that they share count in full.
	PendingDeletions     int
	PendingDeletionBytes int64
	// Devices that were in use when they were to be removed, and that the kernel removes when they are closed.
	DeferredRemovals int
	// Volumes in the registry whose thin device the pool does not hold, and thin devices in the pool that the registry
	// does not know. Both are 0 unless somebody else changed the pool.
	LostVolumes, UnknownThinDevices int
	// Why what the source offers beyond the pool could not be taken in when that was tried last, as Reconfigure gave it. Nil:
	// the pool has all of it.
	GrowthError error
	// Whether the pool stands on a loop file.
	Loopback bool
	// Paths of the devices that the pool was opened with.
	Devices []string
	// Paths of the devices, or of the file, that hold the pool's data and its metadata. Below a pool that was handed over
	// they are devices of its maker's.
	DataDevices    []string
	MetadataDevice string
	// Whether udev runs on the host. Nothing depends on it: devices are addressed by number, and udev is told to keep off.
	UdevRunning bool
	// Versions of device mapper and the thin-pool target, as "4.47.0".
	DeviceMapperVersion, ThinPoolVersion string
}

// Space is a size and how much of it is used, in bytes, and what that means. The state is empty where the kernel gives no
// figures, which is so of a failed pool.
type Space struct {
	Total, Used int64
	State       SpaceState
}

// Free is what is not used, in bytes.
func (s Space) Free() int64 { return s.Total - s.Used }

// Status reads the pool's state from the kernel and the registry. The pool is not committed for that, unless it is full and
// blocks have become free.
func (p *Pool) Status(ctx context.Context) (Status, error) {
	if err := p.begin(); err != nil {
		return Status{}, p.wrap("status", "", err)
	}
	defer p.work.Done()
	kernel, err := p.kernelStatus(ctx)
	if err != nil {
		return Status{}, p.wrap("status", "", err)
	}
	deferred := p.deferredRemovals(ctx)
	if err := p.lookAtTable(ctx); err != nil {
		return Status{}, p.wrap("status", "", err)
	}
	p.lookAtLoop()
	p.mutex.Lock()
	before := p.space
	status, now := p.statusOf(kernel), p.space
	p.mutex.Unlock()
	status.DeferredRemovals, status.UdevRunning = deferred, devicemapper.UdevRunning()
	p.logSpace(ctx, before, now, status)
	return status, nil
}

// kernelStatus reads the pool's status without committing it, unless it is full and has free blocks. The kernel looks whether
// a full pool has become writable when it commits, and blocks that come back from a discard that was passed down call for no
// commit (process_prepared_discard_passdown_pt2 in drivers/md/dm-thin.c): writes would fail for as long as nobody else does.
func (p *Pool) kernelStatus(ctx context.Context) (devicemapper.ThinPoolStatus, error) {
	status, err := p.dm.ThinPoolStatus(ctx, p.device)
	if err != nil || status.Mode != devicemapper.PoolModeOutOfDataSpace || status.FreeData() == 0 {
		return status, err
	}
	if _, err := p.dm.Status(ctx, p.device, devicemapper.StatusOptions{Flush: true}); err != nil {
		return status, err
	}
	return p.dm.ThinPoolStatus(ctx, p.device)
}

// statusOf puts together what the kernel says and what the pool knows. The mutex must be held.
func (p *Pool) statusOf(kernel devicemapper.ThinPoolStatus) Status {
	space := p.nextSpace(kernel)
	block := p.label.BlockSectors
	s := Status{
		PoolID: string(p.label.PoolID), DeviceName: string(p.device.Name), BlockSize: block.Bytes(),
		Data:      Space{Total: kernel.TotalData.Sectors(block).Bytes(), Used: kernel.UsedData.Sectors(block).Bytes(), State: space.data},
		Metadata:  Space{Total: kernel.TotalMetadata.Bytes(), Used: kernel.UsedMetadata.Bytes(), State: space.metadata},
		BaseBytes: p.baseBytes, PromisedBytes: p.promised, SnapshotBudget: p.snapshotsLeft(),
		Mode: modes[kernel.Mode], NeedsCheck: kernel.NeedsCheck || p.metadataFault != "",
		Loopback: p.loopback, Devices: slices.Clone(p.paths),
		DeviceMapperVersion: p.versions.deviceMapper.String(), ThinPoolVersion: p.versions.thinPool.String(),
		ErrorIfNoSpace: kernel.ErrorIfNoSpace, DiscardPassdown: kernel.Discards == devicemapper.DiscardPassdown,
		GrowthError:        p.growth.failure,
		UnknownThinDevices: p.unknown, PendingDeletions: len(p.deletions), PendingDeletionBytes: p.pendingBytes(),
	}
	s.DataDevices, s.MetadataDevice = p.devicesBelow()
	s.Fault, s.DeviceFault = p.faultOf(kernel), p.probing.fault
	for _, v := range p.volumes {
		if v.record.Owner != "" {
			s.OwnedVolumes++
			s.OwnedBytes += v.record.Size
		}
		switch v.state {
		case volumeReady, volumeLost:
			s.Volumes++
		case volumeDeleting:
			s.PendingDeletions++
		}
		if v.state == volumeLost {
			s.LostVolumes++
		}
	}
	for _, b := range p.bases {
		if b.ready {
			s.Bases++
		}
	}
	err := p.admitting(kernel)
	if err == nil {
		err = p.registry.committer.room()
	}
	if err == nil {
		if err = p.registry.committer.broken(); err != nil {
			err = fmt.Errorf("%w (the registry is on %s)", err, p.registryName())
		}
	}
	if s.Admitting = err == nil; err != nil {
		s.AdmissionReason, s.AdmissionError = err.Error(), err
	}
	return s
}

// modes are the kernel's words. What it cannot tell is as bad as failed.
var modes = map[devicemapper.PoolMode]Mode{
	devicemapper.PoolModeReadWrite:      ModeReadWrite,
	devicemapper.PoolModeOutOfDataSpace: ModeOutOfDataSpace,
	devicemapper.PoolModeReadOnly:       ModeReadOnly,
	devicemapper.PoolModeFailed:         ModeFailed,
	devicemapper.PoolModeError:          ModeFailed,
}
