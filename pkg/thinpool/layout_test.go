package thinpool

import (
	"errors"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		name      string
		sizes     []int64
		blockSize int64
		refused   bool
	}{
		{"smallest loop file", []int64{minimumLoopSize}, 64 << 10, false},
		{"1 TiB", []int64{1 << 40}, 64 << 10, false},
		{"odd sizes", []int64{1<<40 + 12345*512, 7<<30 + 512}, 192 << 10, false},
		{"largest block", []int64{64 << 30}, 1 << 30, false},
		{"64 devices of 64 TiB", func() []int64 {
			sizes := make([]int64, 64)
			for i := range sizes {
				sizes[i] = 64 << 40
			}
			return sizes
		}(), 64 << 10, false},
		{"too small", []int64{128 << 20}, 64 << 10, true},
		{"too few blocks", []int64{16 << 30}, 1 << 30, true},
		{"second too small", []int64{1 << 30, 2 << 20}, 64 << 10, true},
		{"empty", []int64{0}, 64 << 10, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			areas, err := plan(test.sizes, test.blockSize)
			var field *FieldError
			if test.refused {
				if !errors.As(err, &field) || !errors.Is(err, ErrInvalid) {
					t.Errorf("got %v, want a FieldError", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			l := label{Version: labelVersion, PoolID: newPoolID(), PoolName: "p", State: stateReady, BlockSectors: devicemapper.SectorsOf(test.blockSize), Areas: areas}
			for _, size := range test.sizes {
				l.Devices = append(l.Devices, labelDevice{ID: randomID(), Sectors: devicemapper.SectorsOf(size)})
			}
			if err := l.validate(); err != nil {
				t.Fatalf("the plan is no valid label: %v", err)
			}
			var metadata, spare, data int64
			for _, a := range areas {
				if a.Start.Bytes()%alignment != 0 {
					t.Errorf("%s begins at %d", a.Kind, a.Start)
				}
				switch a.Kind {
				case areaMetadata:
					metadata = a.Length.Bytes()
				case areaSpare:
					spare = a.Length.Bytes()
				case areaData:
					data += a.Length.Bytes()
				}
			}
			blocks := data / test.blockSize
			// The field's rule, 17.4 MiB and 19 bytes a block, or all that the kernel can use.
			if rule := min(18245222+19*blocks, int64(maximumMetadata)); metadata < rule || metadata != spare || metadata > maximumMetadata {
				t.Errorf("metadata %d, spare %d, rule %d, most %d", metadata, spare, rule, int64(maximumMetadata))
			}
			var total int64
			for _, size := range test.sizes {
				total += size
			}
			if waste := total - data - 2*metadata - registryArea - int64(len(test.sizes))*labelArea; waste < 0 || waste >= int64(len(test.sizes))*test.blockSize {
				t.Errorf("%d bytes are used for nothing", waste)
			}
		})
	}
}

func TestTableIsContiguous(t *testing.T) {
	l := exampleLabel(t)
	numbers := []devicemapper.DeviceNumber{{Major: 7, Minor: 0}, {Major: 7, Minor: 1}}
	table := l.table(areaData, numbers)
	if len(table) != 2 || table[0].Start != 0 || table[1].Start != table[0].Length || table[1].Target.(devicemapper.Linear).Device != numbers[1] {
		t.Errorf("table %s", table)
	}
}
