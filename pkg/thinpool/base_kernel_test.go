//go:build kernel

package thinpool_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// onBase activates the base of a spec behind the engine's back.
func onBase(t testing.TB, dm *devicemapper.Client, p *thinpool.Pool, spec thinpool.VolumeSpec, do func(device string)) {
	t.Helper()
	ctx := testContext(t)
	thin, ready := p.BaseOf(spec)
	if !ready {
		t.Fatal("there is no base")
	}
	pool := get(dm.Info(ctx, devicemapper.Name(get(p.Status(ctx))(t).DeviceName)))(t)
	table := devicemapper.Table{{Length: devicemapper.SectorsOf(spec.Size), Target: devicemapper.Thin{Pool: pool.Number, ID: devicemapper.ThinID(thin)}}}
	device := get(dm.Activate(ctx, "csi-dm-test-tampering", "", table))(t)
	do(device.Path())
	if _, err := dm.Remove(ctx, device, devicemapper.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestBaseIdentity: a base that was exchanged for another file system, or damaged, gives no volume after the next opening, and
// the error says which of the two it is. The base of another size serves on.
func TestBaseIdentity(t *testing.T) {
	exchange := func(fsType filesystem.Type) func(t *testing.T, device string, spec thinpool.VolumeSpec) {
		return func(t *testing.T, device string, spec thinpool.VolumeSpec) {
			overwrite(t, device, 0, make([]byte, 128<<10))
			if err := filesystem.Make(testContext(t), device, spec.Size, filesystem.Format{Type: fsType}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, fsType := range filesystem.Types {
		for name, test := range map[string]struct {
			tamper func(t *testing.T, device string, spec thinpool.VolumeSpec)
			says   string
		}{
			"same file system":    {exchange(fsType), "exchanged"},
			"another file system": {exchange(map[filesystem.Type]filesystem.Type{filesystem.Ext4: filesystem.XFS, filesystem.XFS: filesystem.Ext4}[fsType]), "exchanged"},
			"damaged": {func(t *testing.T, device string, _ thinpool.VolumeSpec) {
				overwrite(t, device, 0, make([]byte, 8<<10))
			}, "damaged"},
		} {
			t.Run(string(fsType)+"/"+name, func(t *testing.T) {
				kerneltest.CheckClean(t)
				dm, ctx, config := client(t), testContext(t), configOn(kerneltest.Disk(t, 3*gib))
				p := open(t, dm, config)
				spec := thinpool.VolumeSpec{Name: "before", Size: 400 * mib, Format: filesystem.Format{Type: fsType}}
				create(t, p, spec)
				uuid := p.Bases()[0].UUID
				other := spec
				other.Name, other.Size = "other", 480*mib
				create(t, p, other)
				onBase(t, dm, p, spec, func(device string) { test.tamper(t, device, spec) })
				// It was looked at when it was made. The next opening looks again.
				closed(t, p)
				p = open(t, dm, config)
				spec.Name = "after"
				for range 2 {
					_, err := p.CreateVolume(ctx, spec)
					refused(t, err, thinpool.ErrBaseDamaged, test.says, uuid)
					for _, wrong := range []error{thinpool.ErrPoolFailed, thinpool.ErrNoSpace, thinpool.ErrPoolDamaged} {
						if errors.Is(err, wrong) {
							t.Errorf("%v passes for %v", err, wrong)
						}
					}
				}
				refused(t, p.EnsureBase(ctx, spec.Size, spec.Format), thinpool.ErrBaseDamaged)
				thin, _ := p.BaseOf(spec)
				if err := p.DropBase(ctx, thin); err != nil {
					t.Error(err)
				}
				refused(t, p.DropBase(ctx, thin), thinpool.ErrBaseNotFound)
				create(t, p, spec)
				mounted(t, activate(t, p, spec.Name), fsType, func(directory string) { writeFile(t, filepath.Join(directory, "file"), "content") })
				deactivate(t, p, spec.Name)
				other.Name = "other-2"
				create(t, p, other)
				checkFileSystem(t, fsType, activate(t, p, "other-2"))
				deactivate(t, p, "other-2")
			})
		}
	}
}

// TestBaseIsNotBlamed: a pool that is full, and one that has failed, give their own error, not the base's.
func TestBaseIsNotBlamed(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, disk := client(t), testContext(t), kerneltest.Disk(t, gib)
	config := configOn(disk)
	config.OverprovisionMilli, config.MinFreePercent = 10_000, 0
	p := open(t, dm, config)
	create(t, p, ext4("v", 64*mib))
	total := get(p.Status(ctx))(t).Data.Total
	create(t, p, raw("filler", total-8*mib))
	notBlamed := func(err, want error) {
		t.Helper()
		refused(t, err, want)
		if errors.Is(err, thinpool.ErrBaseDamaged) {
			t.Errorf("the base is blamed: %v", err)
		}
	}
	closed(t, p)
	p = get(thinpool.Open(ctx, dm, config))(t)
	if err := fill(t, activate(t, p, "filler"), total-8*mib); err != nil {
		t.Fatal(err)
	}
	_, err := p.CreateVolume(ctx, ext4("w", 64*mib))
	notBlamed(err, thinpool.ErrNoSpace)
	if err := p.DeleteVolume(ctx, "filler"); err != nil {
		t.Fatal(err)
	}
	drained(t, p)
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	changeSuperblock(t, disk, func(block []byte) { block[4] |= 1 })
	p = get(thinpool.Open(ctx, dm, config))(t)
	_, err = p.CreateVolume(ctx, ext4("w", 64*mib))
	notBlamed(err, thinpool.ErrPoolFailed)
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	changeSuperblock(t, disk, func(block []byte) { block[4] &^= 1 })

	// The disk below does not read any more.
	p = get(thinpool.Open(ctx, dm, config))(t)
	data := devicemapper.Name(get(p.Status(ctx))(t).DeviceName[:len("csi-dm-0123456789abcdef-")] + "data")
	table := get(dm.Table(ctx, data, devicemapper.TableOptions{}))(t)
	reload := func(table devicemapper.Table) {
		t.Helper()
		if err := errors.Join(
			dm.Load(ctx, data, table, devicemapper.LoadOptions{}),
			dm.Suspend(ctx, data, devicemapper.SuspendOptions{SkipLockFS: true, NoFlush: true}), dm.Resume(ctx, data),
		); err != nil {
			t.Fatal(err)
		}
	}
	reload(devicemapper.Table{{Length: table.Length(), Target: devicemapper.ErrorTarget{}}})
	_, err = p.CreateVolume(ctx, ext4("w", 64*mib))
	notBlamed(err, thinpool.ErrPoolFailed)
	reload(table)
	create(t, p, ext4("w", 64*mib))
	finish(t, dm, p)
}

// TestEnsureBase: a base that was made ahead of demand gives a volume where no mkfs can run.
func TestEnsureBase(t *testing.T) {
	kerneltest.CheckClean(t)
	p := open(t, client(t), configOn(kerneltest.Disk(t, 2*gib)))
	ctx := testContext(t)
	for _, fsType := range filesystem.Types {
		for range 2 {
			if err := p.EnsureBase(ctx, 400*mib-1, filesystem.Format{Type: fsType}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(p.Bases()); n != 2 {
		t.Errorf("%d bases", n)
	}
	refused(t, p.EnsureBase(ctx, 400*mib, filesystem.Format{}), thinpool.ErrInvalid, "fsType")
	refused(t, p.EnsureBase(ctx, 0, filesystem.Format{Type: filesystem.Ext4}), thinpool.ErrInvalid, "size")
	t.Setenv("PATH", "/nonexistent")
	for _, fsType := range filesystem.Types {
		name := "v-" + string(fsType)
		create(t, p, thinpool.VolumeSpec{Name: name, Size: 400*mib - 1, Format: filesystem.Format{Type: fsType}})
		mounted(t, activate(t, p, name), fsType, func(directory string) { writeFile(t, filepath.Join(directory, "file"), "content") })
		deactivate(t, p, name)
	}
}

// TestSmallerBase: where the base of a size cannot be made, a volume begins as the largest smaller one and grows when it is
// mounted, by eight times at most.
func TestSmallerBase(t *testing.T) {
	kerneltest.CheckClean(t)
	config := configOn(kerneltest.Disk(t, 2*gib))
	config.OverprovisionMilli = 10_000
	p := open(t, client(t), config)
	ctx := testContext(t)
	for _, fsType := range filesystem.Types {
		if err := errors.Join(p.EnsureBase(ctx, 320*mib, filesystem.Format{Type: fsType}), p.EnsureBase(ctx, 384*mib, filesystem.Format{Type: fsType})); err != nil {
			t.Fatal(err)
		}
	}
	path := t.TempDir()
	for _, fsType := range filesystem.Types {
		spec := thinpool.VolumeSpec{Name: "v-" + string(fsType), Size: 1280 * mib, Format: filesystem.Format{Type: fsType}}
		tooLarge := spec
		tooLarge.Name, tooLarge.Size = "large", 8*384*mib+mib
		t.Setenv("PATH", path)
		if v := create(t, p, spec); v.Size != spec.Size {
			t.Errorf("%+v", v)
		}
		if _, err := p.CreateVolume(ctx, tooLarge); err == nil || errors.Is(err, thinpool.ErrNoSpace) {
			t.Errorf("from a base of an eighth and less: %v", err)
		}
		t.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
		device := activate(t, p, spec.Name)
		mounted(t, device, fsType, func(directory string) {
			if size := growMounted(t, directory, device); size < spec.Size-spec.Size/10-64*mib {
				t.Errorf("the file system has %d bytes of %d", size, spec.Size)
			}
		})
		checkFileSystem(t, fsType, device)
		deactivate(t, p, spec.Name)
	}
}

// TestBasesAreGivenUp: a request that the pool has no space for gets that of the bases that nobody has used lately; volumes
// that came from them stay whole. Bases that were just used stay.
func TestBasesAreGivenUp(t *testing.T) {
	kerneltest.CheckClean(t)
	config := configOn(kerneltest.Disk(t, 768*mib))
	p := open(t, client(t), config)
	ctx := testContext(t)
	create(t, p, xfs("kept", 300*mib))
	mounted(t, activate(t, p, "kept"), "xfs", func(directory string) { writeFile(t, filepath.Join(directory, "file"), "content") })
	for i := range int64(2) {
		if err := p.EnsureBase(ctx, (301+i)*mib, filesystem.Format{Type: filesystem.XFS}); err != nil {
			t.Fatal(err)
		}
	}
	before := get(p.Status(ctx))(t)
	room := roomOf(config, before).LargestVolume
	if before.Bases != 3 || before.BaseBytes < 180*mib {
		t.Fatalf("%+v", before)
	}
	_, err := p.CreateVolume(ctx, raw("large", room+64*mib))
	refused(t, err, thinpool.ErrNoSpace)
	if status := get(p.Status(ctx))(t); status.Bases != 3 {
		t.Errorf("%d bases are left that were just used", status.Bases)
	}
	thinpool.SetBaseRest(0)
	t.Cleanup(func() { thinpool.SetBaseRest(10 * time.Minute) })
	create(t, p, raw("large", room+64*mib))
	status := get(p.Status(ctx))(t)
	if status.Bases >= 3 || status.PendingDeletions != 0 {
		t.Errorf("%+v", status)
	}
	// The same for a volume that grows.
	if err := p.EnsureBase(ctx, 303*mib, filesystem.Format{Type: filesystem.XFS}); err != nil {
		t.Fatal(err)
	}
	more := roomOf(config, get(p.Status(ctx))(t)).LargestVolume + 32*mib
	if grown := get(p.GrowVolume(ctx, "large", room+64*mib+more))(t); grown.Size < room+64*mib+more {
		t.Errorf("%+v", grown)
	}
	mounted(t, activate(t, p, "kept"), "xfs", func(directory string) { expectFile(t, filepath.Join(directory, "file"), "content") })
	checkFileSystem(t, filesystem.XFS, activate(t, p, "kept"))
	deactivate(t, p, "kept")
}

// TestTakenThinID: somebody else has made thin devices on the ids that come next. They stay, with what they hold; volumes and
// bases get later ids; and too many of them in a row are an error.
func TestTakenThinID(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	config := configOn(kerneltest.Disk(t, gib))
	p := get(thinpool.Open(ctx, dm, config))(t)
	last := create(t, p, raw("last", 16*mib)).ThinID
	pool := get(dm.Info(ctx, devicemapper.Name(get(p.Status(ctx))(t).DeviceName)))(t)
	var foreign []devicemapper.ThinID
	take := func(first uint32, count int) {
		t.Helper()
		for i := range count {
			id := devicemapper.ThinID(first + uint32(i))
			if err := dm.CreateThin(ctx, pool, id); err != nil {
				t.Fatal(err)
			}
			foreign = append(foreign, id)
		}
	}
	onForeign := func(do func(path string)) {
		t.Helper()
		table := devicemapper.Table{{Length: devicemapper.SectorsOf(16 * mib), Target: devicemapper.Thin{Pool: pool.Number, ID: foreign[0]}}}
		device := get(dm.Activate(ctx, "csi-dm-test-foreign", "", table))(t)
		do(device.Path())
		if _, err := dm.Remove(ctx, device, devicemapper.RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	take(last+1, 2)
	take(last+4, 1)
	onForeign(func(path string) { overwrite(t, path, 0, []byte("somebody else's")) })
	if v := create(t, p, raw("next", 16*mib)); v.ThinID != last+3 {
		t.Errorf("thin id %d after %d, of which the next two were taken", v.ThinID, last)
	}
	// The base gets the one after the next, its volume the one behind.
	if v := create(t, p, ext4("formatted", 64*mib)); v.ThinID != last+6 {
		t.Errorf("thin id %d", v.ThinID)
	}
	take(last+7, 16)
	_, err := p.CreateVolume(ctx, from("copy", "formatted", 0))
	refused(t, err, thinpool.ErrPoolDamaged, "does not know")
	create(t, p, from("copy", "formatted", 0))
	if status := get(p.Status(ctx))(t); status.UnknownThinDevices != len(foreign) || status.LostVolumes != 0 {
		t.Errorf("%d of %d foreign devices are counted", status.UnknownThinDevices, len(foreign))
	}
	onForeign(func(path string) { expectPrefix(t, path, "somebody else's") })
	// After opening again they are still there and still nobody's.
	closed(t, p)
	p = get(thinpool.Open(ctx, dm, config))(t)
	if status := get(p.Status(ctx))(t); status.UnknownThinDevices != len(foreign) || status.Volumes != 4 {
		t.Errorf("%+v", status)
	}
	for _, id := range foreign {
		if err := dm.DeleteThin(ctx, pool, id); err != nil {
			t.Error(err)
		}
	}
	closed(t, p)
	open(t, dm, config)
}

func expectPrefix(t testing.TB, path, want string) {
	t.Helper()
	found := make([]byte, 4096)
	if _, err := (directReader{path}).ReadAt(found, 0); err != nil || string(found[:len(want)]) != want {
		t.Errorf("%s begins with %s, %v", path, hex.EncodeToString(found[:len(want)]), err)
	}
}

// TestConcurrentSnapshotsOfOneName: many ask for one snapshot at once, and get one; others ask for another under the same name,
// and are told.
func TestConcurrentSnapshotsOfOneName(t *testing.T) {
	kerneltest.CheckClean(t)
	p := open(t, client(t), configOn(kerneltest.Disk(t, gib)))
	ctx := testContext(t)
	create(t, p, ext4("source", 64*mib))
	create(t, p, ext4("other", 64*mib))
	directory, unmount := mount(t, activate(t, p, "source"), "ext4")
	budget := get(p.Status(ctx))(t).SnapshotBudget
	type answer struct {
		v   thinpool.Volume
		err error
	}
	answers := make(chan answer)
	for i := range 32 {
		go func() {
			spec := from("copy", "source", 0)
			if i%4 == 3 {
				spec.Source = "other"
			}
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			v, err := p.CreateVolume(ctx, spec)
			if err == nil && v.Source != spec.Source {
				err = fmt.Errorf("asked for a copy of %s, got one of %s", spec.Source, v.Source)
			}
			answers <- answer{v, err}
		}()
	}
	ids, told := map[uint32]int{}, 0
	for range 32 {
		switch a := <-answers; {
		case a.err == nil:
			ids[a.v.ThinID]++
		case errors.Is(a.err, thinpool.ErrVolumeExists):
			told++
		default:
			t.Error(a.err)
		}
	}
	if len(ids) != 1 || told != 8 && told != 24 {
		t.Errorf("volumes %v, %d were told that it exists", ids, told)
	}
	if left := get(p.Status(ctx))(t).SnapshotBudget; left != budget-1 {
		t.Errorf("%d snapshots were made", budget-left)
	}
	writeFile(t, filepath.Join(directory, "file"), "content")
	unmount()
	deactivate(t, p, "source")
}
