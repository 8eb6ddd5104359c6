package guest

import (
	"slices"
	"strings"
	"testing"
)

func TestParseDependencies(t *testing.T) {
	got, err := parseDependencies(strings.NewReader(
		"kernel/drivers/md/dm-thin-pool.ko: kernel/drivers/md/persistent-data/dm-persistent-data.ko kernel/drivers/md/dm-mod.ko\n" +
			"kernel/drivers/block/loop.ko:\n\nkernel/fs/xfs/xfs.ko\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"dm_thin_pool": {
			"kernel/drivers/md/dm-thin-pool.ko", "kernel/drivers/md/persistent-data/dm-persistent-data.ko", "kernel/drivers/md/dm-mod.ko",
		},
		"loop": {"kernel/drivers/block/loop.ko"},
		"xfs":  {"kernel/fs/xfs/xfs.ko"},
	} {
		if !slices.Equal(got[name], want) {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
	if len(got) != 3 {
		t.Errorf("got %d modules, want 3", len(got))
	}
}
