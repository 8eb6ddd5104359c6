//go:build kernel

package thinpool_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// The thin device of the registry, and the transaction ids by which a pool is csi-dm's: part of the format on disk.
const (
	registryThin      = devicemapper.MaxThinID
	transactionTaking = 0x6373692d646d0001
	transactionTaken  = 0x6373692d646d0002
)

// plainPool is a thin pool as somebody makes it with dmsetup.
type plainPool struct {
	dm     *devicemapper.Client
	device devicemapper.Device
	target devicemapper.ThinPool
	length devicemapper.Sectors
	// metadata is the disk of the metadata.
	metadata string
}

// newPlainPool makes a pool on two disks. At the end of the test it goes.
func newPlainPool(t testing.TB, dm *devicemapper.Client, dataSize int64, change func(*devicemapper.ThinPool)) *plainPool {
	t.Helper()
	return newPlainPoolOn(t, dm, kerneltest.Disk(t, 32*mib), dataSize, change)
}

func newPlainPoolOn(t testing.TB, dm *devicemapper.Client, metadata string, dataSize int64, change func(*devicemapper.ThinPool)) *plainPool {
	t.Helper()
	p := &plainPool{dm: dm, length: devicemapper.SectorsOf(dataSize), metadata: metadata, target: devicemapper.ThinPool{
		Metadata: number(t, metadata), Data: number(t, kerneltest.Disk(t, dataSize)), BlockSectors: 256,
	}}
	if change != nil {
		change(&p.target)
	}
	p.activate(t)
	t.Cleanup(func() { p.deactivate(t) })
	return p
}

func (p *plainPool) activate(t testing.TB) {
	t.Helper()
	table := devicemapper.Table{{Length: p.length, Target: p.target}}
	p.device = get(p.dm.Activate(testContext(t), "somebodys", "", table))(t)
}

func (p *plainPool) deactivate(t testing.TB) {
	t.Helper()
	if _, err := p.dm.Remove(testContext(t), p.device, devicemapper.RemoveOptions{}); err != nil {
		t.Error(err)
	}
}

func (p *plainPool) table(t testing.TB) devicemapper.Table {
	t.Helper()
	return get(p.dm.Table(testContext(t), p.device, devicemapper.TableOptions{}))(t)
}

func (p *plainPool) status(t testing.TB) devicemapper.ThinPoolStatus {
	t.Helper()
	return get(p.dm.ThinPoolStatus(testContext(t), p.device))(t)
}

func (p *plainPool) config() thinpool.Config { return configOnPool(p.device.Path()) }

func configOnPool(path string) thinpool.Config {
	config := configOn()
	config.BlockSize = 0
	config.Source = thinpool.Source{ThinPoolDevice: path}
	return config
}

// refusesPool opens a pool that must be refused, and checks that it is as it was.
func refusesPool(t *testing.T, dm *devicemapper.Client, config thinpool.Config, want error, says ...string) {
	t.Helper()
	ctx := testContext(t)
	devices := get(dm.List(ctx))(t)
	before, _ := dm.Status(ctx, number(t, config.Source.ThinPoolDevice), devicemapper.StatusOptions{})
	p, err := thinpool.Open(ctx, dm, config)
	if err == nil {
		_ = p.Shutdown(ctx)
	}
	refused(t, err, want, append(says, config.Name)...)
	if after := get(dm.List(ctx))(t); len(after) != len(devices) {
		t.Errorf("kernel devices before: %v, after: %v", devices, after)
	}
	after, _ := dm.Status(ctx, number(t, config.Source.ThinPoolDevice), devicemapper.StatusOptions{})
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("the pool was %v and is %v", before, after)
	}
}

func number(t testing.TB, path string) devicemapper.DeviceNumber {
	t.Helper()
	return devicemapper.DeviceNumberOf(stat(t, path).Rdev)
}

// finishOnPool checks a pool that was handed over and shuts it down: its owner's device is still there, as it was.
func (p *plainPool) finishOnPool(t testing.TB, pool *thinpool.Pool) {
	t.Helper()
	before := p.table(t)
	checkIDs(t, p.dm, pool)
	if err := pool.Shutdown(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if after := p.table(t); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("the table was %v and is %v", before, after)
	}
	if status := p.status(t); status.TransactionID != transactionTaken || status.HeldMetadataRoot != 0 {
		t.Errorf("the pool is left with the status %+v", status)
	}
	if info := get(p.dm.Info(testContext(t), p.device))(t); info.OpenCount != 0 || info.Suspended {
		t.Errorf("the pool is left in use: %+v", info)
	}
}

// TestAdoptPlainPool takes a pool over that was made by hand, works with it, and finds it again after a restart of the
// process and after its owner has deactivated it.
func TestAdoptPlainPool(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	owned := newPlainPool(t, dm, gib, func(target *devicemapper.ThinPool) { target.LowWaterBlocks = 7 })
	config := owned.config()
	pool := get(thinpool.Open(ctx, dm, config))(t)
	status := get(pool.Status(ctx))(t)
	if status.BlockSize != 128<<10 || status.DeviceName != "somebodys" || !status.Admitting || status.ErrorIfNoSpace {
		t.Errorf("%+v", status)
	}
	if status.Data.Used != 64*mib || len(status.DataDevices) != 1 || !isDisk(status.DataDevices[0]) || !isDisk(status.MetadataDevice) {
		t.Errorf("%d bytes are used, data on %q, metadata on %q", status.Data.Used, status.DataDevices, status.MetadataDevice)
	}
	v := create(t, pool, ext4("v", 64*mib))
	create(t, pool, raw("r", 10*mib))
	directory, unmount := mount(t, activate(t, pool, "v"), filesystem.Ext4)
	writeFile(t, directory+"/f", "content")
	// A snapshot of the mounted volume: its device is suspended, the pool is not.
	snapshot := create(t, pool, thinpool.VolumeSpec{Name: "s", Source: "v"})
	if snapshot.Size != 64*mib {
		t.Errorf("%+v", snapshot)
	}
	unmount()
	mounted(t, activate(t, pool, "s"), filesystem.Ext4, func(directory string) { expectFile(t, directory+"/f", "content") })
	deactivate(t, pool, "s")
	// The registry is nobody's volume, and nothing that should not be there.
	if report := get(pool.Check(ctx))(t); !report.Sound() {
		t.Errorf("%v", report)
	}
	if usage := get(pool.Usage(ctx))(t); usage.Others != (thinpool.Usage{Mapped: 64 * mib, Exclusive: 64 * mib}) || len(usage.Volumes) != 3 {
		t.Errorf("%+v", usage)
	}
	// Settings that are the table's are its owner's.
	config.ErrorIfNoSpace, config.DiscardPassdown, config.MinFreePercent = true, false, 20
	if err := pool.Reconfigure(ctx, config); err != nil {
		t.Error(err)
	}
	if status := get(pool.Status(ctx))(t); status.ErrorIfNoSpace || !status.DiscardPassdown {
		t.Errorf("%+v", status)
	}
	closed(t, pool)

	pool = get(thinpool.Open(ctx, dm, config))(t)
	if again := get(pool.Status(ctx))(t); again.PoolID != status.PoolID || again.Volumes != 3 || again.UnknownThinDevices != 0 {
		t.Errorf("%+v became %+v", status, again)
	}
	deactivate(t, pool, "v")
	if err := pool.DeleteVolume(ctx, "r"); err != nil {
		t.Error(err)
	}
	owned.finishOnPool(t, pool)

	owned.deactivate(t)
	refusesAbsent(t, dm, config)
	owned.activate(t)
	pool = get(thinpool.Open(ctx, dm, owned.config()))(t)
	if found := get(pool.Volume("v"))(t); found.ThinID != v.ThinID {
		t.Errorf("%+v became %+v", v, found)
	}
	mounted(t, activate(t, pool, "v"), filesystem.Ext4, func(directory string) { expectFile(t, directory+"/f", "content") })
	deactivate(t, pool, "v")
	owned.finishOnPool(t, pool)
}

func refusesAbsent(t *testing.T, dm *devicemapper.Client, config thinpool.Config) {
	t.Helper()
	_, err := thinpool.Open(testContext(t), dm, config)
	refused(t, err, thinpool.ErrDeviceNotFound, "source.thinPoolDevice", config.Source.ThinPoolDevice)
}

// TestAdoptRefuses: what is in the way of taking a pool over, and that nothing of it is changed.
func TestAdoptRefuses(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	disk := kerneltest.Disk(t, gib)
	refusesPool(t, dm, configOnPool(disk), thinpool.ErrInvalid, "source.thinPoolDevice", disk, "no")
	_, err := thinpool.Open(ctx, dm, configOnPool("/dev/null"))
	refused(t, err, thinpool.ErrInvalid, "source.thinPoolDevice", "/dev/null", "a block device")
	refusesAbsent(t, dm, configOnPool("/dev/mapper/nowhere"))

	owned := newPlainPool(t, dm, gib, nil)
	config := owned.config()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// A device over the pool, as LVM makes one once there are thin volumes.
	linear := devicemapper.Table{{Length: owned.length, Target: devicemapper.Linear{Device: owned.device.Number}}}
	layer := get(dm.Activate(ctx, "layer", "", linear))(t)
	refusesPool(t, dm, configOnPool(layer.Path()), thinpool.ErrInvalid, "LVM")
	refusesPool(t, dm, config, thinpool.ErrDeviceInUse, "open (1 times)")
	_, err = dm.Remove(ctx, layer, devicemapper.RemoveOptions{})
	do(err)

	config.BlockSize = 64 << 10
	refusesPool(t, dm, config, thinpool.ErrSourceChanged, "blockSize is 65536", "131072")
	config.BlockSize = 128 << 10 // its own: accepted as far as that goes

	do(dm.CreateThin(ctx, owned.device, 5))
	refusesPool(t, dm, config, thinpool.ErrDeviceInUse, "1 thin devices", "id 5")
	do(dm.DeleteThin(ctx, owned.device, 5))
	// What carries the registry's id is no registry for that.
	do(dm.CreateThin(ctx, owned.device, registryThin))
	refusesPool(t, dm, config, thinpool.ErrDeviceInUse, "thin devices")
	do(dm.DeleteThin(ctx, owned.device, registryThin))

	do(dm.ReserveMetadataSnapshot(ctx, owned.device))
	refusesPool(t, dm, config, thinpool.ErrDeviceInUse, "metadata snapshot")
	do(dm.ReleaseMetadataSnapshot(ctx, owned.device))

	for _, id := range []uint64{1, 2, transactionTaken + 1} {
		do(dm.SetTransactionID(ctx, owned.device, 0, id))
		refusesPool(t, dm, config, thinpool.ErrDeviceInUse, fmt.Sprintf("transaction id of %s is %d", owned.device.Path(), id))
		do(dm.SetTransactionID(ctx, owned.device, id, 0))
	}
	// Marked as csi-dm's without a registry: somebody has deleted it.
	do(dm.SetTransactionID(ctx, owned.device, 0, transactionTaken))
	refusesPool(t, dm, config, thinpool.ErrPoolDamaged, "registry")
	do(dm.SetTransactionID(ctx, owned.device, transactionTaken, 0))

	do(dm.Suspend(ctx, owned.device, devicemapper.SuspendOptions{}))
	refusesPool(t, dm, config, thinpool.ErrDeviceInUse, "suspended")
	do(dm.Resume(ctx, owned.device))

	pool := get(thinpool.Open(ctx, dm, config))(t)
	create(t, pool, ext4("v", 64*mib))
	// Another ThinPool with the same pool, while it is open and when it is not.
	other := config
	other.Name = "other"
	_, err = thinpool.Open(ctx, dm, other)
	refused(t, err, thinpool.ErrDeviceInUse, "other")
	owned.finishOnPool(t, pool)
	refusesPool(t, dm, other, thinpool.ErrForeignPool, `"test"`, `"other"`)
	config.BlockSize = 64 << 10
	refusesPool(t, dm, config, thinpool.ErrSourceChanged, "blockSize is 65536", "131072")
}

// TestAdoptRefusesUnfit: pools that must not hold volumes, whoever has used them.
func TestAdoptRefusesUnfit(t *testing.T) {
	t.Run("zeroing off", func(t *testing.T) {
		kerneltest.CheckClean(t)
		dm := client(t)
		owned := newPlainPool(t, dm, gib, nil)
		setTable(t, owned, "skip_block_zeroing")
		refusesPool(t, dm, owned.config(), thinpool.ErrInvalid, "source.thinPoolDevice", "skip_block_zeroing", "lvchange --zero y")
		setTable(t, owned)
		pool := get(thinpool.Open(testContext(t), dm, owned.config()))(t)
		owned.finishOnPool(t, pool)
		setTable(t, owned, "skip_block_zeroing")
		refusesPool(t, dm, owned.config(), thinpool.ErrInvalid, "skip_block_zeroing")
		setTable(t, owned)
	})
	t.Run("read-only", func(t *testing.T) {
		kerneltest.CheckClean(t)
		dm := client(t)
		owned := newPlainPool(t, dm, gib, nil)
		setTable(t, owned, "read_only")
		refusesPool(t, dm, owned.config(), thinpool.ErrPoolFailed, "source.thinPoolDevice", `mode "ro"`)
	})
	t.Run("too small", func(t *testing.T) {
		kerneltest.CheckClean(t)
		dm := client(t)
		owned := newPlainPool(t, dm, 100*mib, nil)
		refusesPool(t, dm, owned.config(), thinpool.ErrInvalid, "source.thinPoolDevice", "104857600 bytes", "at least 134217728")
	})
	t.Run("csi-dm's own", func(t *testing.T) {
		kerneltest.CheckClean(t)
		dm := client(t)
		p := open(t, dm, configOn(kerneltest.Disk(t, gib)))
		name := get(p.Status(testContext(t)))(t).DeviceName
		device := get(dm.Info(testContext(t), devicemapper.Name(name)))(t)
		refusesPool(t, dm, configOnPool(device.Path()), thinpool.ErrForeignPool, "csi-dm")
	})
}

// setTable reloads a pool with features, by dmsetup: this project's own client refuses some.
func setTable(t testing.TB, p *plainPool, features ...string) {
	t.Helper()
	table := fmt.Sprintf("0 %d thin-pool %s %s %d 0 %d %s", p.length, p.target.Metadata, p.target.Data, p.target.BlockSectors, len(features), strings.Join(features, " "))
	run(t, "dmsetup", "suspend", "--noudevsync", p.device.Name.String())
	run(t, "dmsetup", "load", p.device.Name.String(), "--table", strings.TrimSpace(table))
	run(t, "dmsetup", "resume", "--noudevsync", p.device.Name.String())
}

// TestAdoptChecksRegistryBlocks: a registry that has lost blocks is not written to.
func TestAdoptChecksRegistryBlocks(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	owned := newPlainPool(t, dm, gib, nil)
	pool := get(thinpool.Open(ctx, dm, owned.config()))(t)
	owned.finishOnPool(t, pool)
	thin := get(dm.Activate(ctx, "registry", "", devicemapper.Table{{Length: devicemapper.SectorsOf(64 * mib), Target: devicemapper.Thin{Pool: owned.device.Number, ID: registryThin}}}))(t)
	run(t, "blkdiscard", "--offset", fmt.Sprint(32*mib), "--length", fmt.Sprint(mib), thin.Path())
	if _, err := dm.Remove(ctx, thin, devicemapper.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	refusesPool(t, dm, owned.config(), thinpool.ErrPoolDamaged, "66060288", "67108864")
}

// TestAdoptFullPool: the registry goes on in a pool without a free block.
func TestAdoptFullPool(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	owned := newPlainPool(t, dm, 256*mib, func(target *devicemapper.ThinPool) { target.ErrorIfNoSpace = true })
	config := owned.config()
	config.OverprovisionMilli, config.MinFreePercent = 10_000, 0
	pool := get(thinpool.Open(ctx, dm, config))(t)
	create(t, pool, raw("small", 16*mib))
	create(t, pool, raw("large", 100*mib))
	filler := get(dm.Activate(ctx, "filler", "", fillerTable(t, owned)))(t)
	device := get(os.OpenFile(filler.Path(), os.O_RDWR, 0))(t)
	chunk := make([]byte, mib)
	for at := int64(0); at < 256*mib; at += mib {
		if _, err := device.WriteAt(chunk, at); err != nil {
			break
		}
		if err := device.Sync(); err != nil {
			break
		}
	}
	_ = device.Close()
	if status := owned.status(t); status.Mode != devicemapper.PoolModeOutOfDataSpace {
		t.Fatalf("the pool is not full: %+v", status)
	}
	// Deleting needs a commit of the registry.
	if err := pool.DeleteVolume(ctx, "small"); err != nil {
		t.Errorf("delete on a full pool: %v", err)
	}
	if _, err := dm.Remove(ctx, filler, devicemapper.RemoveOptions{}); err != nil {
		t.Error(err)
	}
	if err := dm.DeleteThin(ctx, owned.device, 1000); err != nil {
		t.Error(err)
	}
	closed(t, pool)
	pool = get(thinpool.Open(ctx, dm, config))(t)
	if _, err := pool.Volume("small"); !errors.Is(err, thinpool.ErrVolumeNotFound) {
		t.Errorf("the deleted volume: %v", err)
	}
	get(pool.Volume("large"))(t)
	owned.finishOnPool(t, pool)
}

// fillerTable makes a thin device of the test's own in a pool that is somebody else's.
func fillerTable(t testing.TB, owned *plainPool) devicemapper.Table {
	t.Helper()
	if err := owned.dm.CreateThin(testContext(t), owned.device, 1000); err != nil {
		t.Fatal(err)
	}
	return devicemapper.Table{{Length: devicemapper.SectorsOf(256 * mib), Target: devicemapper.Thin{Pool: owned.device.Number, ID: 1000}}}
}

// TestAdoptNoticesZeroing: an owner who switches zeroing off gets no new tenants, and those who are there stay.
func TestAdoptNoticesZeroing(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	owned := newPlainPool(t, dm, gib, nil)
	pool := get(thinpool.Open(ctx, dm, owned.config()))(t)
	create(t, pool, ext4("v", 64*mib))
	setTable(t, owned, "skip_block_zeroing")
	_, err := pool.CreateVolume(ctx, raw("w", mib))
	refused(t, err, thinpool.ErrPoolFailed, "source.thinPoolDevice", "skip_block_zeroing")
	if status := get(pool.Status(ctx))(t); status.Admitting || !strings.Contains(status.AdmissionReason, "skip_block_zeroing") || status.Volumes != 1 {
		t.Errorf("%+v", status)
	}
	mounted(t, activate(t, pool, "v"), filesystem.Ext4, func(string) {})
	deactivate(t, pool, "v")
	setTable(t, owned)
	create(t, pool, raw("w", mib))
	owned.finishOnPool(t, pool)
}

// TestTakeOverKilled kills the process at every failpoint of taking a pool over and opens the pool again.
func TestTakeOverKilled(t *testing.T) {
	visited := 0
	for _, name := range thinpool.Failpoints() {
		if !strings.HasPrefix(name, "take over:") {
			continue
		}
		visited++
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			kerneltest.CheckClean(t)
			dm := client(t)
			owned := newPlainPool(t, dm, gib, nil)
			result := runChild(t, childJob{Config: owned.config(), Script: "life", Failpoint: name}, outcome{}, 0)
			if !result.killed {
				t.Fatalf("the child did not come to %q", name)
			}
			if id := owned.status(t).TransactionID; id != transactionTaking {
				t.Errorf("the transaction id is %d", id)
			}
			recovered(t, dm, owned.config(), result)
			if id := owned.status(t).TransactionID; id != transactionTaken {
				t.Errorf("the transaction id is %d", id)
			}
		})
	}
	if visited == 0 {
		t.Error("there is no such failpoint")
	}
}

// TestAdoptKilled kills the process at work on such a pool.
func TestAdoptKilled(t *testing.T) {
	kerneltest.CheckClean(t)
	dm := client(t)
	owned := newPlainPool(t, dm, gib, nil)
	config := owned.config()
	for i, name := range []string{"create: thin device made", "delete: intent durable", "recover: metadata snapshot held"} {
		result := runChild(t, childJob{Config: config, Script: "life", Failpoint: name, Seed: uint64(i)}, outcome{}, 0)
		if !result.killed {
			t.Fatalf("the child did not come to %q", name)
		}
		recoveredAndEmptied(t, dm, config, result)
	}
	open(t, dm, config)
}
