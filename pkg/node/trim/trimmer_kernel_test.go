//go:build kernel

package trim

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/confinedpath"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

const mib = 1 << 20

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestTrimAll: of the volumes of a node those are trimmed that are mounted for writing in kubelet's directory and that no call is under
// way for; their pool gets back what was deleted in them.
func TestTrimAll(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dm, err := devicemapper.Open()
	must(t, err)
	t.Cleanup(func() { _ = dm.Close() })
	set := pools.NewSet(func(ctx context.Context, config thinpool.Config) (pools.Pool, error) {
		return thinpool.Open(ctx, dm, config)
	})
	pool, _, err := set.Open(ctx, thinpool.Config{
		Name: "test", BlockSize: 64 << 10, OverprovisionMilli: 10_000, ErrorIfNoSpace: true, DiscardPassdown: true,
		Source: thinpool.Source{Devices: []string{kerneltest.Disk(t, 2<<30)}},
	})
	must(t, err)
	scratch, err := os.MkdirTemp(kerneltest.Scratch(t), "trim-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(scratch)) })
	kubelet := filepath.Join(scratch, "kubelet")
	must(t, os.Mkdir(kubelet, 0o750))
	root, err := confinedpath.OpenRoot(kubelet)
	must(t, err)
	t.Cleanup(func() { _ = root.Close() })

	for name, place := range map[string]string{
		"ext4": "kubelet/ext4", "xfs": "kubelet/xfs", "read-only": "kubelet/read-only", "held": "kubelet/held", "elsewhere": "elsewhere", "inactive": "",
	} {
		format := filesystem.Format{Type: filesystem.Ext4}
		if name == "xfs" {
			format.Type = filesystem.XFS
		}
		_, err := pool.CreateVolume(ctx, thinpool.VolumeSpec{Name: name, Size: 320 * mib, Format: format})
		must(t, err)
		if place == "" {
			continue
		}
		device, err := pool.Activate(ctx, name)
		must(t, err)
		directory := filepath.Join(scratch, place)
		must(t, os.Mkdir(directory, 0o750))
		flags := []string{}
		if name == "read-only" {
			flags = append(flags, "ro")
		}
		options, err := filesystem.ParseMountOptions(format.Type, flags)
		must(t, err)
		target, err := os.Open(directory)
		must(t, err)
		must(t, filesystem.Mount(device, format.Type, options, target))
		must(t, target.Close())
		if name != "read-only" {
			content := make([]byte, 32*mib)
			_, _ = rand.Read(content)
			path := filepath.Join(directory, "file")
			must(t, os.WriteFile(path, content, 0o600))
			unix.Sync()
			must(t, os.Remove(path))
			unix.Sync()
		}
	}
	before, err := pool.Mapped(ctx)
	must(t, err)

	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	must(t, err)
	holds := 0
	trimmer := New(Config{Pools: set, Kubelet: root, Interval: time.Hour, Metrics: metrics, Hold: func(volume string) (func(), error) {
		if volume == "held" {
			return nil, errors.New("a call is under way")
		}
		holds++
		return func() { holds-- }, nil
	}})
	trimmer.trimAll(ctx)
	after, err := pool.Mapped(ctx)
	must(t, err)
	for name, mapped := range before {
		freed := mapped - after[name]
		if trimmed := name == "ext4" || name == "xfs"; trimmed != (freed >= 30*mib) {
			t.Errorf("%s: %d bytes came back", name, freed)
		}
	}
	if got := testutil.ToFloat64(metrics.bytes.WithLabelValues("test")); got < 60*mib {
		t.Errorf("the metric says that %.0f bytes came back", got)
	}
	for outcome, want := range map[string]float64{outcomeTrimmed: 2, outcomeNotMounted: 4, outcomeFailed: 0, outcomeShared: 0, outcomeBusy: 0} {
		if got := testutil.ToFloat64(metrics.volumes.WithLabelValues("test", outcome)); got != want {
			t.Errorf("%s: %.0f volumes, want %.0f", outcome, got, want)
		}
	}
	if holds != 0 {
		t.Errorf("%d volumes are still held", holds)
	}

	// Nothing is left open: the mounts go.
	for name := range before {
		place := filepath.Join(kubelet, name)
		if name == "elsewhere" {
			place = filepath.Join(scratch, name)
		}
		must(t, unix.Unmount(place, 0))
		must(t, pool.Deactivate(ctx, name))
	}
	must(t, set.Shutdown(ctx, "test"))
}
