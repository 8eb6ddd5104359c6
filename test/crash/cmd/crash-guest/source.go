//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/crash/job"
)

const (
	hostDirectory = "/run/crash-host"
	// loopSize leaves the file system around the file some space, on the smallest first disk.
	loopSize = 768 << 20
	// removalLimit is how long a device may be busy that nobody should use any more.
	removalLimit = 5 * time.Second
)

// source is what the pool lies on, as its owner brings it up after each boot.
type source struct {
	kind  job.Source
	disks []string
	dm    *devicemapper.Client
	// owned are devices that were activated, the last one last.
	owned []devicemapper.Device
	// loop holds the loop device of a file, which would end with the pool.
	loop *os.File
}

// config of a pool on the source.
func (s *source) config() thinpool.Config {
	config := thinpool.Config{
		Name: "crash", BlockSize: 64 << 10, MinFreePercent: 10, OverprovisionMilli: 100_000, ErrorIfNoSpace: true, DiscardPassdown: true,
	}
	switch s.kind {
	case job.HandedOver:
		config.BlockSize = 0 // the pool's own
		config.Source.ThinPoolDevice = s.owned[len(s.owned)-1].Path()
	case job.Loopback:
		config.Source.Loopback = &thinpool.Loopback{Path: s.loopPath(), Size: loopSize}
	default:
		config.Source.Devices = s.disks
	}
	return config
}

func (s *source) loopPath() string { return filepath.Join(hostDirectory, "pool") }

// attach brings the source up: a thin pool on two devices, as LVM has it, or the file system around the file.
func (s *source) attach(ctx context.Context) error {
	switch s.kind {
	case job.HandedOver:
		return s.activatePool(ctx)
	case job.Loopback:
		return s.mountHost(ctx)
	}
	return nil
}

// hold keeps what the pool has brought up itself, so that its metadata can be checked when the pool is shut down.
func (s *source) hold() (err error) {
	if s.kind == job.Loopback && s.loop == nil {
		s.loop, _, err = blockdevice.AttachLoop(s.loopPath())
	}
	return err
}

// detach takes the devices down that attach has activated, so that the metadata on them can be checked. A mounted file system
// stays.
func (s *source) detach(ctx context.Context) error {
	for len(s.owned) > 0 {
		last := s.owned[len(s.owned)-1]
		if _, err := s.dm.Remove(ctx, last, devicemapper.RemoveOptions{BusyTimeout: removalLimit}); err != nil {
			return err
		}
		s.owned = s.owned[:len(s.owned)-1]
	}
	return nil
}

// activatePool has data on the first disk and metadata on the second. New disks read as zeros, and the kernel formats
// metadata that begins so.
func (s *source) activatePool(ctx context.Context) error {
	var parts [2]devicemapper.DeviceNumber
	var length [2]devicemapper.Sectors
	for i, name := range []devicemapper.Name{"owner-data", "owner-metadata"} {
		disk, err := blockdevice.Stat(s.disks[i])
		if err != nil {
			return err
		}
		length[i] = devicemapper.SectorsOf(disk.Size)
		table := devicemapper.Table{{Length: length[i], Target: devicemapper.Linear{Device: devicemapper.DeviceNumber(disk.Number)}}}
		device, err := s.activate(ctx, name, table)
		if err != nil {
			return err
		}
		parts[i] = device.Number
	}
	_, err := s.activate(ctx, "owner-pool", devicemapper.Table{{Length: length[0], Target: devicemapper.ThinPool{
		Metadata: parts[1], Data: parts[0], BlockSectors: 128, ErrorIfNoSpace: true,
	}}})
	return err
}

func (s *source) activate(ctx context.Context, name devicemapper.Name, table devicemapper.Table) (devicemapper.Device, error) {
	device, err := s.dm.Activate(ctx, name, "", table)
	if err == nil {
		s.owned = append(s.owned, device)
	}
	return device, err
}

// mountHost mounts the first disk, and formats it at first.
func (s *source) mountHost(ctx context.Context) error {
	if err := os.Mkdir(hostDirectory, 0o700); errors.Is(err, os.ErrExist) {
		return nil // mounted already
	} else if err != nil {
		return err
	}
	err := unix.Mount(s.disks[0], hostDirectory, string(filesystem.Ext4), 0, "")
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	disk, err := blockdevice.Stat(s.disks[0])
	if err != nil {
		return err
	}
	if err := filesystem.Make(ctx, s.disks[0], disk.Size, filesystem.Format{Type: filesystem.Ext4}); err != nil {
		return err
	}
	return unix.Mount(s.disks[0], hostDirectory, string(filesystem.Ext4), 0, "")
}
