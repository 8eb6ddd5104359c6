//go:build kernel

package devicemapper_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// benchmarkPool is a pool with a base of 8 MiB under id 0.
func benchmarkPool(b *testing.B) (context.Context, *devicemapper.Client, pool) {
	b.Helper()
	_, c := open(b)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	b.Cleanup(cancel)
	p := newPool(ctx, b, c, 256*mebibyte, func(p *devicemapper.ThinPool) { p.Metadata = disk(b, 64*mebibyte) })
	base := p.thin(ctx, b, c, 0, 8*mebibyte)
	fill(b, base.Path(), 0, 8)
	if _, err := c.Remove(ctx, base, devicemapper.RemoveOptions{}); err != nil {
		b.Fatal(err)
	}
	return ctx, c, p
}

func BenchmarkCreateSnapshot(b *testing.B) {
	ctx, c, p := benchmarkPool(b)
	id := devicemapper.ThinID(0)
	for b.Loop() {
		id++
		if err := c.CreateSnapshot(ctx, p, id, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreateAndDeleteSnapshot(b *testing.B) {
	ctx, c, p := benchmarkPool(b)
	for b.Loop() {
		if err := c.CreateSnapshot(ctx, p, 1, 0); err != nil {
			b.Fatal(err)
		}
		if err := c.DeleteThin(ctx, p, 1); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkActivate measures activation and removal; the metric remove-ns/op
// is the latter's part of it.
func BenchmarkActivate(b *testing.B) {
	ctx, c, p := benchmarkPool(b)
	table := p.thinTable(0, 8*mebibyte)
	var removing time.Duration
	for b.Loop() {
		device, err := c.Activate(ctx, "benchmark", "TEST-benchmark", table)
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		if _, err := c.Remove(ctx, device, devicemapper.RemoveOptions{}); err != nil {
			b.Fatal(err)
		}
		removing += time.Since(began)
	}
	b.ReportMetric(float64(removing.Nanoseconds())/float64(b.N), "remove-ns/op")
}

func BenchmarkInfo(b *testing.B) {
	ctx, c, p := benchmarkPool(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Info(ctx, p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkThinPoolStatus(b *testing.B) {
	ctx, c, p := benchmarkPool(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.ThinPoolStatus(ctx, p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStatusFlush(b *testing.B) {
	ctx, c, p := benchmarkPool(b)
	for b.Loop() {
		if _, err := c.Status(ctx, p, devicemapper.StatusOptions{Flush: true}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkListOf1000(b *testing.B) {
	ctx, c := open(b)
	for i := range 1000 {
		device, err := c.Create(ctx, devicemapper.Name(pad("list-", 20)+strconv.Itoa(i)), "")
		if err != nil {
			b.Fatal(err)
		}
		removeAtEnd(ctx, b, c, device)
	}
	for b.Loop() {
		if devices, err := c.List(ctx); err != nil || len(devices) != 1000 {
			b.Fatal(len(devices), err)
		}
	}
}
