package thinpool

import (
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// TestLoopSpace: how many blocks of 64 KiB a file of 1,000 blocks, 900 of them data, can still take.
func TestLoopSpace(t *testing.T) {
	const block = 64 << 10
	for name, test := range map[string]struct {
		allocated, free int64 // blocks
		used            devicemapper.DataBlocks
		want            uint64
	}{
		"sparse, and there is room":   {150, 5000, 100, 5000},
		"sparse, and there is little": {150, 10, 100, 10},
		"sparse, and there is none":   {150, 0, 100, 0},
		"all allocated":               {1000, 0, 100, 800},
		"all allocated and used":      {1000, 0, 900, 0},
		"more allocated than used":    {500, 10, 100, 310},
	} {
		l := loopSpace{known: true, size: 1000 * block, allocated: test.allocated * block, free: test.free * block}
		status := devicemapper.ThinPoolStatus{TotalData: 900, UsedData: test.used}
		if got := l.backs(status, devicemapper.SectorsOf(block)); got != test.want {
			t.Errorf("%s: %d blocks, want %d", name, got, test.want)
		}
		p := &Pool{below: l, label: label{BlockSectors: devicemapper.SectorsOf(block)}}
		if got, want := p.freeData(status), min(test.want, uint64(900-test.used)); got != want {
			t.Errorf("%s: %d blocks are free, want %d", name, got, want)
		}
	}
}
