//go:build kernel

package admin

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestUsageOnKernel reads what the volumes of a pool of the kernel's hold.
func TestUsageOnKernel(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dm, err := devicemapper.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer dm.Close()
	set := pools.NewSet(func(ctx context.Context, config thinpool.Config) (pools.Pool, error) {
		return thinpool.Open(ctx, dm, config)
	})
	pool, _, err := set.Open(ctx, thinpool.Config{
		Name: "fast", BlockSize: 64 << 10, MinFreePercent: 10, OverprovisionMilli: 1000,
		Source: thinpool.Source{Devices: []string{kerneltest.Disk(t, 1<<30)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := pool.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	}()
	for _, spec := range []thinpool.VolumeSpec{{Name: "raw", Size: 64 << 20}, {Name: "ext4", Size: 64 << 20, Format: filesystem.Format{Type: filesystem.Ext4}}} {
		if _, err := pool.CreateVolume(ctx, spec); err != nil {
			t.Fatal(err)
		}
	}
	path, err := pool.Activate(ctx, "raw")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, 3<<16), 0); err != nil {
		t.Fatal(err)
	}
	if err := pool.Deactivate(ctx, "raw"); err != nil {
		t.Fatal(err)
	}
	usages := Usages(ctx, set)
	var text strings.Builder
	if err := WriteUsage(&text, usages); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", &text)
	if len(usages) != 1 || len(usages[0].Volumes) != 2 || len(usages[0].Bases) != 1 || usages[0].NotRead != "" {
		t.Fatalf("%+v", usages)
	}
	names := []string{usages[0].Volumes[0].Name, usages[0].Volumes[1].Name}
	raw, formatted, base := usages[0].Volumes[1].Usage, usages[0].Volumes[0].Usage, usages[0].Bases[0].Usage
	if !slices.Equal(names, []string{"ext4", "raw"}) || raw != (Usage{Mapped: 192 << 10, Exclusive: 192 << 10}) {
		t.Errorf("%+v", usages[0].Volumes)
	}
	if formatted.Exclusive != 0 || formatted.Shared == 0 || formatted != base || usages[0].SharedBytes != base.Shared {
		t.Errorf("a volume that was never mounted and its base: %+v, %+v", formatted, base)
	}
}
