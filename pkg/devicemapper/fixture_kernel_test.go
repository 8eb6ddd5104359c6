//go:build kernel

package devicemapper_test

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// disk gives the test a block device of its own with size bytes of zeros.
func disk(t testing.TB, size int64) devicemapper.DeviceNumber {
	t.Helper()
	return numberOf(t, kerneltest.Disk(t, size))
}

func numberOf(t testing.TB, path string) devicemapper.DeviceNumber {
	t.Helper()
	var stat syscall.Stat_t
	if err := syscall.Stat(path, &stat); err != nil {
		t.Fatalf("stat %s: %v", path, err)
	}
	return devicemapper.DeviceNumberOf(stat.Rdev)
}

// open gives the test a client and a context that ends before the test
// binary's own limit, and sees to it that the test leaves nothing behind.
func open(t testing.TB) (context.Context, *devicemapper.Client) {
	t.Helper()
	kerneltest.CheckClean(t)
	client, err := devicemapper.Open()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(func() {
		cancel()
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return ctx, client
}

// activate makes a device and removes it at the end of the test, if it is
// still there.
func activate(ctx context.Context, t testing.TB, c *devicemapper.Client, name string, table devicemapper.Table) devicemapper.Device {
	t.Helper()
	device, err := c.Activate(ctx, devicemapper.Name(name), devicemapper.UUID("TEST-"+name), table)
	if err != nil {
		t.Fatalf("activate %s: %v", name, err)
	}
	removeAtEnd(ctx, t, c, device)
	return device
}

func removeAtEnd(ctx context.Context, t testing.TB, c *devicemapper.Client, device devicemapper.Device) {
	t.Helper()
	t.Cleanup(func() {
		ctx := context.WithoutCancel(ctx)
		info, err := c.Info(ctx, device)
		if err != nil {
			return // the test has removed it
		}
		if info.Suspended && info.LiveTable {
			_ = c.Resume(ctx, device)
		}
		if _, err := c.Remove(ctx, device, devicemapper.RemoveOptions{}); err != nil {
			t.Errorf("remove %s: %v", device.Name, err)
		}
	})
}

func linear(device devicemapper.DeviceNumber, offset, length devicemapper.Sectors) devicemapper.Table {
	return devicemapper.Table{{Length: length, Target: devicemapper.Linear{Device: device, OffsetSectors: offset}}}
}

// pool is a thin pool with blocks of 64 KiB on two disks of its own.
type pool struct {
	devicemapper.Device
	target devicemapper.ThinPool
	size   devicemapper.Sectors
}

const mebibyte = 1 << 20

func newPool(ctx context.Context, t testing.TB, c *devicemapper.Client, size int64, change func(*devicemapper.ThinPool)) pool {
	t.Helper()
	p := pool{size: devicemapper.SectorsOf(size), target: devicemapper.ThinPool{
		Metadata: disk(t, 16*mebibyte), Data: disk(t, size), BlockSectors: 128,
	}}
	if change != nil {
		change(&p.target)
	}
	p.Device = activate(ctx, t, c, "pool", p.table())
	return p
}

func (p pool) table() devicemapper.Table {
	return devicemapper.Table{{Length: p.size, Target: p.target}}
}

// thin makes the thin device id and activates it with size bytes.
func (p pool) thin(ctx context.Context, t testing.TB, c *devicemapper.Client, id devicemapper.ThinID, size int64) devicemapper.Device {
	t.Helper()
	if err := c.CreateThin(ctx, p, id); err != nil {
		t.Fatal(err)
	}
	return activate(ctx, t, c, fmt.Sprintf("thin-%d", id), p.thinTable(id, size))
}

func (p pool) thinTable(id devicemapper.ThinID, size int64) devicemapper.Table {
	return devicemapper.Table{{Length: devicemapper.SectorsOf(size), Target: devicemapper.Thin{Pool: p.Number, ID: id}}}
}

// direct opens a device's node past the page cache.
func direct(t testing.TB, path string) *os.File {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR|syscall.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// block is 4 KiB, aligned for O_DIRECT, filled with one byte.
func block(fill byte) []byte {
	memory, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	for i := range memory {
		memory[i] = fill
	}
	return memory
}

// fill writes one block into each of count pool blocks of 64 KiB.
func fill(t testing.TB, path string, from, count int) {
	t.Helper()
	file := direct(t, path)
	defer file.Close()
	data := block(0xA5)
	for i := from; i < from+count; i++ {
		if _, err := file.WriteAt(data, int64(i)*128*devicemapper.SectorSize); err != nil {
			t.Fatalf("write block %d: %v", i, err)
		}
	}
}
