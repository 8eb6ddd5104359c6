package thinpool

import (
	"fmt"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// How the devices of a pool are divided:
//
//	device 0   label 1 MiB | registry | metadata | spare for metadata | data …
//	device 1…  label 1 MiB | data …
//
// The data of all devices, one after the other, is the pool's data device. The spare is as large as the metadata: it is
// where a repair writes to.
const (
	labelArea = 1 << 20 // bytes at the beginning of each device
	alignment = 1 << 20 // bytes that areas begin at multiples of

	registryArea = 64 << 20 // bytes

	// Metadata is sized by rule. The kernel's documentation suggests 48 bytes a block and at least 2 MiB
	// (Documentation/admin-guide/device-mapper/thin-provisioning.rst), and more where there are many snapshots: 64 bytes a
	// block leave room for a pool whose blocks are all shared by a snapshot, and for data to be added; the base covers the
	// kernel's own reserve of up to 16 MiB (metadataReserve).
	metadataBase     = 24 << 20
	metadataPerBlock = 64
	metadataRounding = 4 << 20
	// maximumMetadata is the most that the kernel uses (THIN_METADATA_MAX_SECTORS), in bytes, rounded down.
	maximumMetadata = 255 * ((1 << 14) - 64) * 4096 / metadataRounding * metadataRounding

	// minimumDataBlocks is the least that makes a pool worth having.
	minimumDataBlocks = 16
	minimumData       = 64 << 20
)

// areaKind says what an area is for.
type areaKind string

const (
	areaRegistry areaKind = "registry"
	areaMetadata areaKind = "metadata"
	areaSpare    areaKind = "spare"
	areaData     areaKind = "data"
)

// area is a run of sectors of one device.
type area struct {
	Kind   areaKind             `json:"kind"`
	Device int                  `json:"device"`
	Start  devicemapper.Sectors `json:"start"`
	Length devicemapper.Sectors `json:"length"`
}

// metadataSize is the size of the metadata area, in bytes, for data of the given size.
func metadataSize(dataBytes, blockSize int64) int64 {
	blocks := dataBytes / blockSize
	size := metadataBase + blocks*metadataPerBlock
	size = (size + metadataRounding - 1) / metadataRounding * metadataRounding
	return min(size, maximumMetadata)
}

// plan divides devices of the given sizes, in bytes. A device that is too small is a *FieldError.
func plan(sizes []int64, blockSize int64) ([]area, error) {
	var total int64
	for _, size := range sizes {
		total += max(0, size-labelArea)
	}
	metadata := metadataSize(total, blockSize)
	own := int64(registryArea) + 2*metadata

	var areas []area
	var data []area
	for i, size := range sizes {
		at := int64(labelArea)
		if i == 0 {
			for _, part := range []struct {
				kind   areaKind
				length int64
			}{{areaRegistry, registryArea}, {areaMetadata, metadata}, {areaSpare, metadata}} {
				areas = append(areas, area{Kind: part.kind, Start: devicemapper.SectorsOf(at), Length: devicemapper.SectorsOf(part.length)})
				at += part.length
			}
		}
		length := (size - at) / blockSize * blockSize
		if length < max(minimumData, minimumDataBlocks*blockSize) {
			needs := int64(labelArea) + max(minimumData, minimumDataBlocks*blockSize)
			if i == 0 {
				needs += own
			}
			return nil, &FieldError{
				Field: fmt.Sprintf("source.devices[%d]", i), Value: fmt.Sprintf("%d bytes", size),
				Allowed: fmt.Sprintf("at least %d bytes at a block size of %d", needs, blockSize),
			}
		}
		data = append(data, area{Kind: areaData, Device: i, Start: devicemapper.SectorsOf(at), Length: devicemapper.SectorsOf(length)})
	}
	return append(areas, data...), nil
}

// table is the device-mapper table of an area's kind: its areas one after the other.
func (l label) table(kind areaKind, devices []devicemapper.DeviceNumber) devicemapper.Table {
	var table devicemapper.Table
	for _, a := range l.Areas {
		if a.Kind == kind {
			table = append(table, devicemapper.Segment{
				Start: table.Length(), Length: a.Length,
				Target: devicemapper.Linear{Device: devices[a.Device], OffsetSectors: a.Start},
			})
		}
	}
	return table
}
