package admin

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

func (pool) Usage(context.Context) (thinpool.PoolUsage, error) {
	return thinpool.PoolUsage{
		Volumes: map[string]thinpool.Usage{
			"pvc-2": {Mapped: 3 << 20, Shared: 2 << 20, Exclusive: 1 << 20}, "pvc-1": {}, "gone": {Mapped: 1},
		},
		Bases:       []thinpool.BaseUsage{{Format: filesystem.Format{Type: filesystem.Ext4}, Size: 1 << 30, Usage: thinpool.Usage{Mapped: 8 << 20, Shared: 2 << 20, Exclusive: 6 << 20}}},
		Deleting:    thinpool.Usage{Mapped: 64 << 10, Exclusive: 64 << 10},
		SharedBytes: 2 << 20,
	}, nil
}

func TestUsage(t *testing.T) {
	client, _ := serve(t)
	usages, err := client.Usage(t.Context())
	if err != nil || len(usages) != 2 {
		t.Fatalf("%+v, %v", usages, err)
	}
	var text bytes.Buffer
	if err := WriteUsage(&text, usages); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"NAME POOL SIZE MAPPED SHARED EXCLUSIVE",
		"pvc-1 fast 1 GiB 0 B 0 B 0 B",
		"pvc-2 fast 1 GiB 3 MiB 2 MiB 1 MiB",
		"(ext4 base) fast 1 GiB 8 MiB 2 MiB 6 MiB",
		"(being deleted) fast - 64 KiB 0 B 64 KiB",
		"Pool slow could not be read: ",
	}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%s", &text)
	}
	for i, line := range lines {
		if got := strings.Join(strings.Fields(line), " "); got != want[i] && (i < 5 || !strings.HasPrefix(line, want[i]) || !strings.Contains(line, thinpool.ErrDeviceNotFound.Error())) {
			t.Errorf("line %d is %q, want %q", i, got, want[i])
		}
	}
	one, err := UsageOf(usages, "pvc-2")
	if err != nil || len(one) != 1 || one[0].Pool != "fast" || len(one[0].Volumes) != 1 || one[0].Volumes[0].Exclusive != 1<<20 {
		t.Errorf("%+v, %v", one, err)
	}
	if _, err := UsageOf(usages, "gone"); err == nil || !strings.Contains(err.Error(), `"gone"`) || !strings.Contains(err.Error(), "slow") {
		t.Errorf("a volume that is not there: %v", err)
	}
}
