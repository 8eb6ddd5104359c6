package bench

import (
	"strings"
	"testing"
)

func TestScatter(t *testing.T) {
	const n = 1 << 12
	seen := make([]bool, n)
	for i := range int64(n) {
		at := scatter(i, n)
		if seen[at] {
			t.Fatalf("%d is hit twice", at)
		}
		seen[at] = true
		if next := scatter(i+1, n); i+1 < n && next-at == 1 {
			t.Fatalf("%d and %d stay neighbours", i, i+1)
		}
	}
	if largest := int64(1 << 22); scatter(largest-1, largest) < 0 {
		t.Error("overflow")
	}
}

func TestWriteThinXML(t *testing.T) {
	var b strings.Builder
	if err := writeThinXML(&b, 3, 128, 1000, []mappedThin{{id: 0, mappings: 4}, {id: 1}, {id: 2, mappings: 2, scattered: true}}); err != nil {
		t.Fatal(err)
	}
	const want = `<superblock uuid="" time="0" transaction="3" data_block_size="128" nr_data_blocks="1000">
<device dev_id="0" mapped_blocks="4" transaction="0" creation_time="0" snap_time="0">
<range_mapping origin_begin="0" data_begin="0" length="4" time="0"/>
</device>
<device dev_id="1" mapped_blocks="0" transaction="0" creation_time="0" snap_time="0">
</device>
<device dev_id="2" mapped_blocks="2" transaction="0" creation_time="0" snap_time="0">
<single_mapping origin_block="0" data_block="4" time="0"/>
<single_mapping origin_block="1" data_block="5" time="0"/>
</device>
</superblock>
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}
