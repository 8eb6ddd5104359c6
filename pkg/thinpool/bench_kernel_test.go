//go:build kernel

package thinpool_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// budget is how many times what the kernel needs for the same the engine may take.
const budget = 2.0

// pairs of measurements that make one iteration of a benchmark: a median needs some.
const pairs = 20

// BenchmarkCreateActivateMount measures the way from nothing to a mounted volume, base present, against the raw ioctls and
// the mount alone. The two take turns on the same pool, so that whatever else the machine does strikes both. It fails if
// the median of the engine is beyond the budget.
//
// Metrics: engine-ms and raw-ms are medians, ratio is their quotient. What is printed as ns/op is of no use: it is the time
// of several pairs with all that was cleared away between them.
func BenchmarkCreateActivateMount(b *testing.B) {
	for _, fsType := range filesystem.Types {
		for _, existing := range []int{10, 1000} {
			b.Run(fmt.Sprintf("%s/existing=%d", fsType, existing), func(b *testing.B) { benchmarkCreate(b, fsType, existing) })
		}
	}
}

func benchmarkCreate(b *testing.B, fsType filesystem.Type, existing int) {
	ctx := context.Background()
	dm := client(b)
	config := configOn(kerneltest.MachineDisk(b))
	config.OverprovisionMilli = 100_000
	p := get(thinpool.Open(ctx, dm, config))(b)
	defer func() {
		if err := p.Shutdown(ctx); err != nil {
			b.Error(err)
		}
	}()
	spec := thinpool.VolumeSpec{Size: 320 * mib, Format: filesystem.Format{Type: fsType}}
	inParallel(existing, func(i int) {
		other := spec
		other.Name = fmt.Sprintf("existing-%d", i)
		if _, err := p.CreateVolume(ctx, other); err != nil {
			b.Error(err)
		}
	})
	base, ok := p.BaseOf(spec)
	if !ok {
		b.Fatal("no base")
	}
	status := get(p.Status(ctx))(b)
	kernel := kernelAlone{dm: dm, pool: get(dm.Info(ctx, devicemapper.Name(status.DeviceName)))(b).Device, base: devicemapper.ThinID(base), size: spec.Size, fsType: fsType}
	directory := b.TempDir()

	var engine, alone []time.Duration
	b.ResetTimer()
	for i := range b.N * pairs {
		one := spec
		one.Name = fmt.Sprintf("measured-%d", i)
		for turn := range 2 {
			if (i+turn)%2 == 0 {
				engine = append(engine, measureEngine(b, p, one, directory))
			} else {
				alone = append(alone, kernel.measure(b, i, directory))
			}
		}
	}
	b.StopTimer()
	e, a := median(engine), median(alone)
	ratio := float64(e) / float64(a)
	b.ReportMetric(milliseconds(e), "engine-ms")
	b.ReportMetric(milliseconds(a), "raw-ms")
	b.ReportMetric(ratio, "ratio")
	if ratio > budget {
		b.Errorf("the engine takes %.2f times what the kernel takes (%s, %s), the budget is %.1f", ratio, e, a, budget)
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func mountAt(b *testing.B, path, directory string, fsType filesystem.Type) {
	options := map[filesystem.Type]string{filesystem.Ext4: "noinit_itable", filesystem.XFS: "nouuid"}
	if err := unix.Mount(path, directory, string(fsType), 0, options[fsType]); err != nil {
		b.Fatal(err)
	}
}

func unmountAt(b *testing.B, directory string) {
	if err := unix.Unmount(directory, 0); err != nil {
		b.Fatal(err)
	}
}

func measureEngine(b *testing.B, p *thinpool.Pool, spec thinpool.VolumeSpec, directory string) time.Duration {
	ctx := context.Background()
	began := time.Now()
	if _, err := p.CreateVolume(ctx, spec); err != nil {
		b.Fatal(err)
	}
	path, err := p.Activate(ctx, spec.Name)
	if err != nil {
		b.Fatal(err)
	}
	mountAt(b, path, directory, spec.Format.Type)
	took := time.Since(began)
	unmountAt(b, directory)
	if err := p.DeleteVolume(ctx, spec.Name); err != nil {
		b.Fatal(err)
	}
	return took
}

// kernelAlone does what the kernel must do for a volume and nothing else: a snapshot, a device, a mount.
type kernelAlone struct {
	dm     *devicemapper.Client
	pool   devicemapper.Device
	base   devicemapper.ThinID
	size   int64
	fsType filesystem.Type
}

func (k kernelAlone) measure(b *testing.B, i int, directory string) time.Duration {
	ctx := context.Background()
	id := devicemapper.ThinID(1<<23 + i) // out of the engine's way
	name := devicemapper.Name(fmt.Sprintf("raw-%d", i))
	table := devicemapper.Table{{Length: devicemapper.SectorsOf(k.size), Target: devicemapper.Thin{Pool: k.pool.Number, ID: id}}}
	began := time.Now()
	if err := k.dm.CreateSnapshot(ctx, k.pool, id, k.base); err != nil {
		b.Fatal(err)
	}
	device, err := k.dm.Activate(ctx, name, "", table)
	if err != nil {
		b.Fatal(err)
	}
	mountAt(b, device.Path(), directory, k.fsType)
	took := time.Since(began)
	unmountAt(b, directory)
	if _, err := k.dm.Remove(ctx, device, devicemapper.RemoveOptions{}); err != nil {
		b.Fatal(err)
	}
	if err := k.dm.DeleteThin(ctx, k.pool, id); err != nil {
		b.Fatal(err)
	}
	return took
}

// BenchmarkCreateFrom64 measures how many volumes a second 64 goroutines get, against the kernel's own rate for the same
// messages one after the other.
//
// Metrics: volumes/s, kernel/s, and ratio, the former by the latter.
func BenchmarkCreateFrom64(b *testing.B) {
	ctx := context.Background()
	dm := client(b)
	config := configOn(kerneltest.MachineDisk(b))
	config.OverprovisionMilli = 100_000
	p := get(thinpool.Open(ctx, dm, config))(b)
	defer func() {
		if err := p.Shutdown(ctx); err != nil {
			b.Error(err)
		}
	}()
	spec := ext4("first", 64*mib)
	if _, err := p.CreateVolume(ctx, spec); err != nil {
		b.Fatal(err)
	}
	base, _ := p.BaseOf(spec)
	pool := get(dm.Info(ctx, devicemapper.Name(get(p.Status(ctx))(b).DeviceName)))(b).Device
	const workers, each = 64, 8
	var engine, kernel time.Duration
	b.ResetTimer()
	for i := range b.N {
		began := time.Now()
		inParallel(workers, func(worker int) {
			for j := range each {
				if _, err := p.CreateVolume(ctx, ext4(fmt.Sprintf("v-%d-%d-%d", i, worker, j), spec.Size)); err != nil {
					b.Error(err)
				}
			}
		})
		engine += time.Since(began)
		began = time.Now()
		for j := range workers * each {
			if err := dm.CreateSnapshot(ctx, pool, devicemapper.ThinID(1<<23+j), devicemapper.ThinID(base)); err != nil {
				b.Fatal(err)
			}
		}
		kernel += time.Since(began)
		b.StopTimer()
		for j := range workers * each {
			if err := dm.DeleteThin(ctx, pool, devicemapper.ThinID(1<<23+j)); err != nil {
				b.Fatal(err)
			}
		}
		inParallel(workers, func(worker int) {
			for j := range each {
				if err := p.DeleteVolume(ctx, fmt.Sprintf("v-%d-%d-%d", i, worker, j)); err != nil {
					b.Error(err)
				}
			}
		})
		b.StartTimer()
	}
	total := float64(b.N * workers * each)
	b.ReportMetric(total/engine.Seconds(), "volumes/s")
	b.ReportMetric(total/kernel.Seconds(), "kernel/s")
	b.ReportMetric(kernel.Seconds()/engine.Seconds(), "ratio")
}
