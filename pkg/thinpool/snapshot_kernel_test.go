//go:build kernel

package thinpool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

func from(name, source string, size int64) thinpool.VolumeSpec {
	return thinpool.VolumeSpec{Name: name, Source: source, Size: size}
}

// TestSnapshot takes snapshots of a volume that is mounted, inactive and open as a block device: each holds what was written
// before, synced or not, and stays so; each is a volume of its own, as long as its source or longer.
func TestSnapshot(t *testing.T) {
	for _, fsType := range filesystem.Types {
		t.Run(string(fsType), func(t *testing.T) {
			kerneltest.CheckClean(t)
			dm, ctx, config := client(t), testContext(t), configOn(kerneltest.Disk(t, 4*gib))
			p := open(t, dm, config)
			size := 512 * mib
			source := create(t, p, thinpool.VolumeSpec{Name: "source", Size: size, Format: filesystem.Format{Type: fsType}})
			directory, unmount := mount(t, activate(t, p, "source"), fsType)
			// Not synced: the snapshot has it all the same.
			content := strings.Repeat("before", 1<<20)
			if err := os.WriteFile(filepath.Join(directory, "file"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			budget := get(p.Status(ctx))(t).SnapshotBudget
			mounted1 := create(t, p, from("mounted", "source", 0))
			if mounted1.Size != source.Size || mounted1.Source != "source" || mounted1.Format.Type != fsType || mounted1.SourceHeld <= 0 || mounted1.Created.IsZero() {
				t.Errorf("a snapshot of %+v is %+v", source, mounted1)
			}
			t.Logf("I/O was held for %v", mounted1.SourceHeld)
			writeFile(t, filepath.Join(directory, "file"), "after")
			unmount()
			deactivate(t, p, "source")
			inactive := create(t, p, from("inactive", "source", size))
			if inactive.SourceHeld != 0 {
				t.Errorf("I/O of an inactive source was held for %v", inactive.SourceHeld)
			}
			larger := create(t, p, thinpool.VolumeSpec{Name: "larger", Source: "mounted", Size: 2 * size, Format: filesystem.Format{Type: fsType}})
			if larger.Size != 2*size {
				t.Errorf("%+v", larger)
			}
			if left := get(p.Status(ctx))(t).SnapshotBudget; left != budget-3 {
				t.Errorf("three snapshots took %d of the budget", budget-left)
			}
			if err := p.DeleteVolume(ctx, "source"); err != nil {
				t.Fatal(err)
			}
			// The same specs again, without their source, over a new opening.
			if err := p.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
			p = open(t, dm, config)
			for _, spec := range []thinpool.VolumeSpec{from("mounted", "source", 0), from("mounted", "source", size), from("inactive", "source", size)} {
				if v := create(t, p, spec); v.Source != "source" || v.Size != size || v.SourceHeld != 0 {
					t.Errorf("%+v", v)
				}
			}
			for name, want := range map[string]string{"mounted": content, "inactive": "after", "larger": content} {
				mounted(t, activate(t, p, name), fsType, func(directory string) {
					expectFile(t, filepath.Join(directory, "file"), want)
					writeFile(t, filepath.Join(directory, "own"), name)
				})
				checkFileSystem(t, fsType, activate(t, p, name))
				deactivate(t, p, name)
			}
		})
	}
}

func checkFileSystem(t testing.TB, fsType filesystem.Type, device string) {
	t.Helper()
	if fsType == filesystem.XFS {
		run(t, "xfs_repair", "-n", device)
	} else {
		run(t, "e2fsck", "-f", "-n", device)
	}
}

// TestSnapshotOfBlockDevice: what a process has written to a device that it holds open, and not synced, is in the snapshot.
func TestSnapshotOfBlockDevice(t *testing.T) {
	kerneltest.CheckClean(t)
	p := open(t, client(t), configOn(kerneltest.Disk(t, gib)))
	create(t, p, raw("source", 64*mib))
	device := get(os.OpenFile(activate(t, p, "source"), os.O_RDWR, 0))(t)
	content := []byte(strings.Repeat("content ", 1<<17))
	if _, err := device.WriteAt(content, 3*mib); err != nil {
		t.Fatal(err)
	}
	create(t, p, from("copy", "source", 128*mib))
	if _, err := device.WriteAt([]byte(strings.Repeat("later   ", 1<<17)), 3*mib); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(device.Sync(), device.Close()); err != nil {
		t.Fatal(err)
	}
	found := make([]byte, len(content))
	twin := get(os.Open(activate(t, p, "copy")))(t)
	if _, err := twin.ReadAt(found, 3*mib); err != nil || string(found) != string(content) {
		t.Errorf("the snapshot holds %q…, %v", found[:16], err)
	}
	if err := twin.Close(); err != nil {
		t.Error(err)
	}
	deactivate(t, p, "copy")
	deactivate(t, p, "source")
}

// TestSnapshotRefusals: what is no snapshot, and says which field.
func TestSnapshotRefusals(t *testing.T) {
	kerneltest.CheckClean(t)
	p := open(t, client(t), configOn(kerneltest.Disk(t, gib)))
	ctx := testContext(t)
	create(t, p, ext4("source", 64*mib))
	create(t, p, ext4("other", 64*mib))
	create(t, p, from("copy", "source", 0))
	for _, test := range []struct {
		spec thinpool.VolumeSpec
		want error
		says string
	}{
		{from("new", "missing", 0), thinpool.ErrSourceNotFound, "missing"},
		{from("new", "missing", 0), thinpool.ErrVolumeNotFound, "missing"},
		{from("new", "new", 0), thinpool.ErrInvalid, "source"},
		{from("new", "../x", 0), thinpool.ErrInvalid, "source"},
		{from("new", "source", 32*mib), thinpool.ErrInvalid, "67108864"},
		{from("new", "source", -1), thinpool.ErrInvalid, "size"},
		{from("new", "source", 900*mib), thinpool.ErrNoSpace, "can be promised"},
		{thinpool.VolumeSpec{Name: "new", Source: "source", Format: filesystem.Format{Type: filesystem.XFS}}, thinpool.ErrInvalid, "ext4"},
		{thinpool.VolumeSpec{Name: "new", Source: "source", Format: filesystem.Format{Type: "vfat"}}, thinpool.ErrInvalid, "fsType"},
		{thinpool.VolumeSpec{Name: "new", Source: "source", Format: filesystem.Format{Type: filesystem.Ext4, Options: []string{"-m", "5"}}}, thinpool.ErrInvalid, "mkfs-options"},
		{from("copy", "other", 0), thinpool.ErrVolumeExists, `"source"`},
		{from("copy", "source", 128*mib), thinpool.ErrVolumeExists, "67108864"},
		{ext4("copy", 64*mib), thinpool.ErrVolumeExists, `"source"`},
		{from("other", "source", 0), thinpool.ErrVolumeExists, ""},
	} {
		_, err := p.CreateVolume(ctx, test.spec)
		refused(t, err, test.want, test.says)
	}
	if n := len(p.Volumes()); n != 3 {
		t.Errorf("%d volumes", n)
	}
}

// TestSnapshotBudgetOfSnapshots: a snapshot of a volume without a file system costs one of the budget, too.
func TestSnapshotBudgetOfSnapshots(t *testing.T) {
	kerneltest.CheckClean(t)
	p := open(t, client(t), configOn(kerneltest.Disk(t, gib)))
	create(t, p, raw("source", 64*mib))
	before := get(p.Status(testContext(t)))(t).SnapshotBudget
	create(t, p, from("copy", "source", 0))
	if left := get(p.Status(testContext(t)))(t).SnapshotBudget; left != before-1 {
		t.Errorf("%d snapshots are left of %d", left, before)
	}
}

// TestSnapshotOnFullPool: a pool that runs full under a mounted file system, whose data is in the page cache and can go
// nowhere, gives no snapshot, in either of the two modes: not when that happens while the source is written out, not while it
// is frozen, which the kernel lets succeed, and not if there is room again by then. What is written after that is in the next
// one.
func TestSnapshotOnFullPool(t *testing.T) {
	for _, errorIfNoSpace := range []bool{true, false} {
		for _, when := range []string{"create: intent durable", "snapshot: source written out", "and has recovered"} {
			t.Run(fmt.Sprintf("error=%t/%s", errorIfNoSpace, when), func(t *testing.T) {
				snapshotOnFullPool(t, errorIfNoSpace, when)
			})
		}
	}
}

func snapshotOnFullPool(t *testing.T, errorIfNoSpace bool, when string) {
	kerneltest.CheckClean(t)
	config := configOn(kerneltest.Disk(t, 448*mib))
	config.OverprovisionMilli, config.MinFreePercent, config.ErrorIfNoSpace = 10_000, 0, errorIfNoSpace
	if !errorIfNoSpace {
		shortQueue(t)
	}
	p := open(t, client(t), config)
	ctx := testContext(t)
	create(t, p, ext4("source", 64*mib))
	total := get(p.Status(ctx))(t).Data.Total
	create(t, p, raw("filler", total-16*mib))
	filler := activate(t, p, "filler")
	directory, unmount := mount(t, activate(t, p, "source"), "ext4")
	mapJournal(t, directory)
	place := filepath.Join(directory, "believed")
	believed := strings.Repeat("believed", 4<<20)
	// The page cache takes it all, which is more than the pool has then.
	believe := func() {
		if err := os.WriteFile(place, []byte(believed), 0o600); err != nil {
			t.Error(err)
		}
	}
	recovers := when == "and has recovered"
	at := when
	if recovers {
		at = "snapshot: source written out"
	}
	came := false
	thinpool.SetFailpoint(func(name string) {
		if name != at || came {
			return
		}
		came = true
		if err := fill(t, filler, total-16*mib); err != nil {
			t.Error(err)
		}
		believe()
		if !recovers {
			return
		}
		file, err := os.OpenFile(place, os.O_RDWR, 0)
		if err != nil {
			t.Error(err)
			return
		}
		if err := file.Sync(); !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EIO) {
			t.Errorf("fsync of what does not fit: %v", err)
		}
		if err := errors.Join(file.Close(), p.DeleteVolume(ctx, "filler")); err != nil {
			t.Error(err)
		}
		awaitMode(t, p, thinpool.ModeReadWrite) //nolint:contextcheck // has one of its own
	})
	t.Cleanup(func() { thinpool.SetFailpoint(func(string) {}) })
	_, err := p.CreateVolume(ctx, from("snapshot", "source", 0))
	t.Logf("refused: %v", err)
	if !came {
		t.Errorf("it did not come to %q", at)
	}
	if !errors.Is(err, thinpool.ErrPoolFull) && !errors.Is(err, thinpool.ErrSyncFailed) {
		t.Errorf("the reason is not known: %v", err)
	}
	if _, err := p.Volume("snapshot"); !errors.Is(err, thinpool.ErrVolumeNotFound) {
		t.Errorf("a snapshot that was refused: %v", err)
	}
	if err := p.DeleteVolume(ctx, "filler"); err != nil {
		t.Fatal(err)
	}
	awaitMode(t, p, thinpool.ModeReadWrite)
	drained(t, p)

	// The owner does what an owner does after lost writes. The first snapshot then may still tell of them.
	unmount()
	path := activate(t, p, "source")
	if output, err := exec.Command("e2fsck", "-f", "-p", path).CombinedOutput(); err != nil {
		t.Logf("e2fsck: %v: %s", err, output) // 1: repaired
	}
	directory, unmount = mount(t, path, "ext4")
	place = filepath.Join(directory, "believed")
	believe()
	create(t, p, from("snapshot", "source", 0))
	unmount()
	deactivate(t, p, "source")
	mounted(t, activate(t, p, "snapshot"), "ext4", func(directory string) {
		if content, err := os.ReadFile(filepath.Join(directory, "believed")); err != nil || string(content) != believed {
			t.Errorf("%d bytes, %v", len(content), err)
		}
	})
	deactivate(t, p, "snapshot")
}

// mapJournal writes so many transactions that an ext4's journal has all of its blocks in the pool. Only then does a full pool
// fail data and leave the file system believing that all is well.
func mapJournal(t testing.TB, directory string) {
	t.Helper()
	for i := range 400 {
		writeFile(t, filepath.Join(directory, fmt.Sprint("small-", i)), "content")
	}
	root := get(os.Open(directory))(t)
	if err := errors.Join(unix.Syncfs(int(root.Fd())), root.Close()); err != nil {
		t.Fatal(err)
	}
}

// shortQueue makes the kernel give writers of full pools up after two seconds.
func shortQueue(t testing.TB) {
	t.Helper()
	const parameter = "/sys/module/dm_thin_pool/parameters/no_space_timeout"
	before := get(os.ReadFile(parameter))(t)
	if err := os.WriteFile(parameter, []byte("2"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(parameter, before, 0o600); err != nil {
			t.Error(err)
		}
	})
}

func awaitMode(t testing.TB, p *thinpool.Pool, mode thinpool.Mode) {
	t.Helper()
	for range 1000 {
		if get(p.Status(testContext(t)))(t).Mode == mode {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the pool is not in mode %s", mode)
}

// TestSnapshotWhileUnmounting races the snapshot of a mounted volume against its unmount, hundreds of times: each snapshot is
// made and holds what was written, each unmount works, and the source's I/O goes on.
func TestSnapshotWhileUnmounting(t *testing.T) {
	kerneltest.CheckClean(t)
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	p := open(t, client(t), configOn(kerneltest.Disk(t, gib)))
	ctx := testContext(t)
	create(t, p, ext4("source", 64*mib))
	device := activate(t, p, "source")
	held, busy := 0, 0
	for round := range rounds {
		directory, _ := mount(t, device, "ext4")
		text := fmt.Sprint("round ", round)
		if err := os.WriteFile(filepath.Join(directory, "file"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		gone := make(chan error, 1)
		go func() {
			time.Sleep(time.Duration(round%20) * 100 * time.Microsecond)
			err := unix.Unmount(directory, 0)
			for errors.Is(err, unix.EBUSY) { // while the mount is being synced
				busy++
				time.Sleep(time.Millisecond)
				err = unix.Unmount(directory, 0)
			}
			gone <- errors.Join(err, os.Remove(directory))
		}()
		v := create(t, p, from("snapshot", "source", 0))
		if v.SourceHeld > 0 {
			held++
		}
		if err := <-gone; err != nil {
			t.Fatalf("round %d: unmount: %v", round, err)
		}
		if round%10 == 0 {
			mounted(t, activate(t, p, "snapshot"), "ext4", func(directory string) { expectFile(t, filepath.Join(directory, "file"), text) })
		}
		if err := p.DeleteVolume(ctx, "snapshot"); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d rounds: the device was suspended in %d, the unmount was busy %d times", rounds, held, busy)
	deactivate(t, p, "source")
}

// TestSnapshotOfFrozen: a file system that somebody else keeps frozen gives its snapshot once that ends, or the error says why
// there is none.
func TestSnapshotOfFrozen(t *testing.T) {
	kerneltest.CheckClean(t)
	p := open(t, client(t), configOn(kerneltest.Disk(t, gib)))
	create(t, p, ext4("source", 64*mib))
	directory, unmount := mount(t, activate(t, p, "source"), "ext4")
	root := get(os.Open(directory))(t)
	const fiFreeze, fiThaw = 0xc0045877, 0xc0045878 // FIFREEZE and FITHAW, include/uapi/linux/fs.h
	if err := unix.IoctlSetInt(int(root.Fd()), fiFreeze, 0); err != nil {
		t.Fatal(err)
	}
	_, err := p.CreateVolume(testContext(t), from("snapshot", "source", 0))
	refused(t, err, thinpool.ErrVolumeInUse, "frozen")
	ended := make(chan error, 1)
	go func() {
		time.Sleep(200 * time.Millisecond)
		ended <- unix.IoctlSetInt(int(root.Fd()), fiThaw, 0)
	}()
	create(t, p, from("snapshot", "source", 0))
	if err := errors.Join(<-ended, root.Close()); err != nil {
		t.Error(err)
	}
	writeFile(t, filepath.Join(directory, "file"), "content")
	unmount()
	deactivate(t, p, "source")
}

// TestSnapshotOutlivesItsCaller: a caller who leaves at once finds the snapshot made, or not, but the source's I/O never held.
func TestSnapshotOutlivesItsCaller(t *testing.T) {
	kerneltest.CheckClean(t)
	dm := client(t)
	p := open(t, dm, configOn(kerneltest.Disk(t, gib)))
	create(t, p, ext4("source", 64*mib))
	directory, unmount := mount(t, activate(t, p, "source"), "ext4")
	for i := range 20 {
		ctx, cancel := context.WithTimeout(testContext(t), time.Duration(i)*200*time.Microsecond)
		_, err := p.CreateVolume(ctx, from("snapshot", "source", 0))
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		writeFile(t, filepath.Join(directory, "file"), fmt.Sprint(i))
		create(t, p, from("snapshot", "source", 0))
		if err := p.DeleteVolume(testContext(t), "snapshot"); err != nil {
			t.Fatal(err)
		}
	}
	if suspended(t, dm, p, "source") {
		t.Error("the source is suspended")
	}
	unmount()
	deactivate(t, p, "source")
}
