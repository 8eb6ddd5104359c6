package thinpool

import (
	"fmt"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// How two devices are divided of which one is for metadata alone:
//
//	device 0   label 1 MiB | registry | data …
//	device 1   label 1 MiB | metadata | spare for metadata
//
// The registry lies with the data, so that it is read when the metadata's device is gone. Metadata and spare take all of
// device 1 that the kernel can use: the admin has set it aside for that.

// planSeparate divides a data device and a metadata device of the given sizes, in bytes. One that is too small is a
// *FieldError.
func planSeparate(data, metadata, blockSize int64) ([]area, error) {
	tooSmall := func(field string, size, needs int64) error {
		return &FieldError{Field: field, Value: fmt.Sprintf("%d bytes", size), Allowed: fmt.Sprintf("at least %d bytes at a block size of %d", needs, blockSize)}
	}
	const own = labelArea + registryArea
	least := max(minimumData, minimumDataBlocks*blockSize)
	length := (data - own) / blockSize * blockSize
	if length < least {
		return nil, tooSmall("source.dataDevice", data, own+least)
	}
	// The rule by which metadata is sized elsewhere is the least here.
	half := min((metadata-labelArea)/2/metadataRounding*metadataRounding, maximumMetadata)
	if needs := metadataSize(length, blockSize); half < needs {
		return nil, tooSmall("source.metadataDevice", metadata, labelArea+2*needs)
	}
	span := func(kind areaKind, device int, start, length int64) area {
		return area{Kind: kind, Device: device, Start: devicemapper.SectorsOf(start), Length: devicemapper.SectorsOf(length)}
	}
	return []area{
		span(areaRegistry, 0, labelArea, registryArea), span(areaData, 0, own, length),
		span(areaMetadata, 1, labelArea, half), span(areaSpare, 1, labelArea+half, half),
	}, nil
}

// separate tells whether the pool was made with a device for metadata alone: without it, the first device holds metadata
// and a spare.
func (l label) separate() bool {
	for _, a := range l.Areas {
		if a.Device == 0 && a.Kind == areaMetadata {
			return false
		}
	}
	return true
}

// planFor divides the devices as the source says.
func (s sourceDevices) planFor(config Config) ([]area, error) {
	sizes := s.sizes()
	if config.Source.separate() {
		return planSeparate(sizes[0], sizes[1], config.BlockSize)
	}
	return plan(sizes, config.BlockSize)
}
