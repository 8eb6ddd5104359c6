package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const lvmMetadata = `bench {
	logical_volumes {

		pool {
			id = "pool"
			segment1 {
				transaction_id = 1
			}
		}

		volume-0 {
			id = "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg"
			segment_count = 1

			segment1 {
				type = "thin"
				device_id = 7
			}
		}

		lvol0_pmspare {
			id = "spare"
		}
	}
}
`

func TestCopyVolumes(t *testing.T) {
	copied, ids, err := copyVolumes(lvmMetadata, "volume-0", 2, func(i int) string { return fmt.Sprintf("volume-%d", i+1) })
	if err != nil || !slices.Equal(ids, []int{8, 9}) {
		t.Fatalf("%v, %v", ids, err)
	}
	for _, want := range []string{"\t\tvolume-0 {", "\t\tvolume-1 {", "\t\tvolume-2 {", "device_id = 7\n", "device_id = 8\n", "device_id = 9\n", "id = \"spare\""} {
		if strings.Count(copied, want) != 1 {
			t.Errorf("%q stands %d times in\n%s", want, strings.Count(copied, want), copied)
		}
	}
	if strings.Count(copied, "aaaaaa-bbbb") != 1 || strings.Count(copied, "{") != strings.Count(copied, "}") {
		t.Errorf("an id was copied, or brackets do not match:\n%s", copied)
	}
	for _, bad := range []string{"", "\n\t\tvolume-0 {\n", strings.Replace(lvmMetadata, "device_id", "device", 1)} {
		if _, _, err := copyVolumes(bad, "volume-0", 1, func(int) string { return "x" }); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}
