package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
)

// withRoots makes the repair's device on damaged metadata whose superblock or roots are lost: the metadata as it is, with a
// superblock in front of it, in memory, that names the roots that were found. thin_repair finds no roots by itself that
// one could rely on: version 0.9.0 crashes, or takes trees without a thin device for the best. The metadata is not changed.
func (m *maintenance) withRoots(ctx context.Context, found findings) (_ devicemapper.Device, release func() error, err error) {
	plain, err := m.alias(ctx, partRepairMetadata, areaMetadata)
	if err != nil {
		return devicemapper.Device{}, nil, err
	}
	superblock, err := m.findRoots(ctx, plain.Path(), found)
	if err != nil {
		return devicemapper.Device{}, nil, err
	}
	if err := m.stack.remove(ctx, plain); err != nil {
		return devicemapper.Device{}, nil, err
	}
	loop, description, err := memoryDevice(thinmetadata.MakeSuperblock(superblock)[:])
	if err != nil {
		return devicemapper.Device{}, nil, err
	}
	first := devicemapper.SectorsOf(thinmetadata.BlockSize)
	table := devicemapper.Table{{Length: first, Target: devicemapper.Linear{Device: devicemapper.DeviceNumber(description.Number)}}}
	for _, segment := range m.label.table(areaMetadata, m.devices.numbers()) {
		linear, ok := segment.Target.(devicemapper.Linear)
		if !ok {
			continue // label.table makes no others
		}
		if segment.Start == 0 {
			linear.OffsetSectors, segment.Start, segment.Length = linear.OffsetSectors+first, first, segment.Length-first
		}
		segment.Target = linear
		table = append(table, segment)
	}
	var unused parts
	device, err := m.stack.ensurePart(ctx, partRepairMetadata, table, &unused)
	if err != nil {
		return device, nil, errors.Join(err, loop.Close())
	}
	return device, func() error { return errors.Join(m.stack.remove(ctx, device), loop.Close()) }, nil
}

// findRoots gives the superblock with the roots that fit the registry best.
func (m *maintenance) findRoots(ctx context.Context, path string, found findings) (s thinmetadata.Superblock, err error) {
	metadata, data := m.label.table(areaMetadata, m.devices.numbers()).Length(), m.label.table(areaData, m.devices.numbers()).Length()
	blocks := uint64(metadata.Bytes() / thinmetadata.BlockSize)
	if found.metadata.superblockErr == nil {
		s = found.metadata.superblock
		if found.metadata.detailsErr != nil {
			s.DetailsRoot = 0
		}
		if !found.metadata.mappingsReadable {
			s.MappingRoot = 0
		}
	}
	expected := map[uint32]bool{}
	if found.registry != nil {
		for _, v := range found.registry.volumes {
			expected[v.record.ThinID] = true
		}
		for _, b := range found.registry.bases {
			expected[b.ThinID] = true
		}
	}
	device, err := thinmetadata.Open(path)
	if err != nil {
		return s, err
	}
	roots, err := device.FindRoots(ctx, blocks, s, expected)
	if errors.Is(err, thinmetadata.ErrNoRoots) && (s.DetailsRoot != 0 || s.MappingRoot != 0) {
		// The one that is left may have no partner any more, and an older pair is there.
		lost := s
		lost.DetailsRoot, lost.MappingRoot = 0, 0
		roots, err = device.FindRoots(ctx, blocks, lost, expected)
	}
	if err = errors.Join(err, device.Close()); err != nil {
		return s, fmt.Errorf("%w: %w; nothing was changed", ErrPoolDamaged, err)
	}
	return thinmetadata.Superblock{
		Version: 2, Time: max(s.Time, roots.Time), TransactionID: s.TransactionID, MappingRoot: roots.Mapping, DetailsRoot: roots.Details,
		DataBlockSize: uint32(m.label.BlockSectors), DataBlocks: uint64(data / m.label.BlockSectors), MetadataBlocks: blocks,
	}, nil
}

// memoryDevice gives a block device in memory with that content, which goes when it is closed and nobody maps it.
func memoryDevice(content []byte) (*os.File, blockdevice.Description, error) {
	fd, err := unix.MemfdCreate("csi-dm-superblock", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, blockdevice.Description{}, fmt.Errorf("memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), "superblock")
	defer func() { _ = file.Close() }() // the loop device has it by then
	if _, err := file.Write(content); err != nil {
		return nil, blockdevice.Description{}, err
	}
	return blockdevice.AttachLoop(fmt.Sprintf("/proc/self/fd/%d", fd))
}
