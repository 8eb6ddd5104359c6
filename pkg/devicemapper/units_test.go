package devicemapper

import (
	"math"
	"testing"
)

func TestUnits(t *testing.T) {
	for bytes, want := range map[int64]Sectors{-1: 0, 0: 0, 511: 0, 512: 1, 513: 1, 1 << 30: 1 << 21, math.MaxInt64: MaxSectors} {
		if got := SectorsOf(bytes); got != want {
			t.Errorf("SectorsOf(%d) = %d, want %d", bytes, got, want)
		}
	}
	if got := MaxSectors.Bytes(); got != math.MaxInt64-511 {
		t.Errorf("MaxSectors are %d bytes", got)
	}
	if got := DataBlocks(3).Sectors(128); got != 384 {
		t.Errorf("3 data blocks of 128 sectors are %d", got)
	}
	if got := MetadataBlocks(4).Bytes(); got != 16384 {
		t.Errorf("4 metadata blocks are %d bytes", got)
	}
}
