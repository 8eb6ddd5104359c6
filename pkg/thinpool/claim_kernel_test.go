//go:build kernel

package thinpool_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestOneDeviceTwice: of two that want one blank device at the same time, one gets it and the other is told that it is in use
// or whose it is, and leaves nothing behind; whatever they want it for.
func TestOneDeviceTwice(t *testing.T) {
	// The second comes at another step of the first each time; one that has the device makes its pool in about 150 ms.
	const rounds, later = 10, 15 * time.Millisecond
	t.Run("one pool", func(t *testing.T) {
		for round := range rounds {
			config := configOn(kerneltest.Disk(t, gib))
			raceForDevice(t, time.Duration(round)*later, config, config)
		}
	})
	t.Run("two pools", func(t *testing.T) {
		for round := range rounds {
			one := configOn(kerneltest.Disk(t, gib))
			other := one
			other.Name = "other"
			raceForDevice(t, time.Duration(round)*later, one, other)
		}
	})
	t.Run("one pool that grows and a new one", func(t *testing.T) {
		for round := range rounds {
			raceForGrowth(t, time.Duration(round-rounds/2)*later, configOn(kerneltest.Disk(t, gib)), kerneltest.Disk(t, gib))
		}
	})
}

// raceForDevice opens both pools, one a little later, and sees that the one that was made is whole.
func raceForDevice(t *testing.T, later time.Duration, configs ...thinpool.Config) {
	t.Helper()
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	pools, errs := make([]*thinpool.Pool, len(configs)), make([]error, len(configs))
	var opening sync.WaitGroup
	for i, config := range configs {
		opening.Go(func() {
			time.Sleep(time.Duration(i) * later)
			pools[i], errs[i] = thinpool.Open(ctx, dm, config)
		})
	}
	opening.Wait()
	won := oneWon(t, errs)
	create(t, pools[won], ext4("v", 64*mib))
	if err := pools[won].Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	p := open(t, dm, configs[won])
	if _, err := p.Volume("v"); err != nil {
		t.Error(err)
	}
	finish(t, dm, p)
}

// raceForGrowth adds a device to a pool while a new one is made on it, later or, if that is below zero, earlier.
func raceForGrowth(t *testing.T, later time.Duration, config thinpool.Config, added string) {
	t.Helper()
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	p := open(t, dm, config)
	before := get(p.Status(ctx))(t).Data.Total
	larger, other := config, configOn(added)
	larger.Source.Devices = append(larger.Source.Devices[:1:1], added)
	other.Name = "other"
	var made *thinpool.Pool
	errs := make([]error, 2)
	var opening sync.WaitGroup
	opening.Go(func() {
		time.Sleep(-later)
		errs[0] = p.Reconfigure(ctx, larger)
	})
	opening.Go(func() {
		time.Sleep(later)
		made, errs[1] = thinpool.Open(ctx, dm, other)
	})
	opening.Wait()
	won := oneWon(t, errs)
	if made != nil {
		finish(t, dm, made)
	}
	if after := get(p.Status(ctx))(t).Data.Total; (after > before) != (won == 0) {
		t.Errorf("the pool had %d bytes and has %d; the errors are %v", before, after, errs)
	}
	finish(t, dm, p)
}

// oneWon gives the place of the only attempt that has no error.
func oneWon(t *testing.T, errs []error) int {
	t.Helper()
	won := -1
	for i, err := range errs {
		switch {
		case err == nil && won < 0:
			won = i
		case err == nil:
			t.Fatal("both have the device")
		case !errors.Is(err, thinpool.ErrDeviceInUse) && !errors.Is(err, thinpool.ErrForeignPool):
			t.Errorf("%d was refused with %v", i, err)
		}
	}
	if won < 0 {
		t.Fatalf("nobody has the device: %v", errs)
	}
	return won
}

// TestForcedPartitionTable: a partition table that may go is erased like a file system's signature, and the kernel forgets the
// partitions.
func TestForcedPartitionTable(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, disk := client(t), kerneltest.MachineDisk(t)
	sector := make([]byte, 512)
	// One primary partition of type 0x83 from sector 2048, and the magic: the layout of a master boot record.
	copy(sector[446:], []byte{0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0})
	copy(sector[510:], []byte{0x55, 0xaa})
	file := get(os.OpenFile(disk, os.O_RDWR, 0))(t)
	if _, err := file.WriteAt(sector, 0); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := blockdevice.ForgetPartitions(disk); err != nil {
		t.Fatal(err)
	}
	partition := filepath.Join("/sys/class/block", filepath.Base(disk)+"1")
	if _, err := os.Stat(partition); err != nil {
		t.Fatalf("the kernel knows no partition of the table: this test shows nothing: %v", err)
	}
	config := configOn(disk)
	refuses(t, dm, config, thinpool.ErrSignatureFound, disk, "dos", "source.force: [dos]")
	config.Source.Force = []string{"dos"}
	create(t, open(t, dm, config), ext4("v", 64*mib))
	if _, err := os.Stat(partition); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the partition of the table that was erased is still known: %v", err)
	}
}
