//go:build kernel

package thinpool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestNoSnapshotMissesData takes snapshots of a mounted volume whose files are written while another volume runs the pool full:
// at each step of a snapshot, by name, and then at random moments. Every snapshot that is acknowledged holds what was fsynced
// before it was asked for, and what was written before without fsync as well: the owner was told of no error.
func TestNoSnapshotMissesData(t *testing.T) {
	for name, errorIfNoSpace := range map[string]bool{"error": true, "wait": false} {
		t.Run(name, func(t *testing.T) {
			kerneltest.CheckClean(t)
			noSpaceTimeout(t, 1)
			config := configOn(kerneltest.Disk(t, 256*mib))
			config.OverprovisionMilli, config.MinFreePercent, config.ErrorIfNoSpace = 100_000, 0, errorIfNoSpace
			dm := client(t)
			s := &snapshotRace{t: t, pool: open(t, dm, config), random: rand.New(rand.NewPCG(1, 2))}
			create(t, s.pool, ext4("source", 32*mib))
			create(t, s.pool, raw("ballast", 48*mib))
			if err := fill(t, activate(t, s.pool, "ballast"), 48*mib); err != nil {
				t.Fatal(err)
			}
			deactivate(t, s.pool, "ballast")
			create(t, s.pool, raw("filler", roomOf(config, get(s.pool.Status(testContext(t)))(t)).LargestVolume))
			s.source, s.filler = activate(t, s.pool, "source"), activate(t, s.pool, "filler")
			s.mount()
			for _, step := range []struct {
				name      string
				at        string // the failpoint at which the pool runs full; empty: not at all
				recovered bool   // it has room again when the failpoint is left
				want      error  // nil: acknowledged
			}{
				{"there is room", "", false, nil},
				{"full before", "create: intent durable", false, thinpool.ErrPoolFull},
				{"full while the source is written out", "snapshot: pool found writable", false, thinpool.ErrSyncFailed},
				{"full before the source is held", "snapshot: source written out", false, thinpool.ErrPoolFull},
				{"full and recovered before the source is held", "snapshot: source written out", true, nil},
				{"full when it is made", "snapshot: source resumed", false, nil},
			} {
				s.round++
				if err := s.step(step.at, step.recovered); !errors.Is(err, step.want) {
					t.Errorf("%s: %v, want %v", step.name, err, step.want)
				}
				if t.Failed() {
					t.Fatal(step.name)
				}
			}
			for began := time.Now(); time.Since(began) < 2*time.Second && !t.Failed(); {
				s.round++
				s.race()
			}
			t.Logf("%d rounds: %d snapshots were acknowledged, %d of them in a pool that was full then, %d refused", s.round, s.kept, s.keptFull, s.refused)
			s.unmount()
			deactivate(t, s.pool, "source")
			deactivate(t, s.pool, "filler")
		})
	}
}

// snapshotRace is a volume, the snapshots of it, and another volume that takes all the space.
type snapshotRace struct {
	t      *testing.T
	pool   *thinpool.Pool
	random *rand.Rand
	// fillTime is how long the other volume took last to run the pool full.
	fillTime time.Duration

	source, filler string // devices
	directory      string // where source is mounted
	release        func()

	round                   int
	kept, keptFull, refused int
}

func (s *snapshotRace) mount() { s.directory, s.release = mount(s.t, s.source, "ext4") }

func (s *snapshotRace) unmount() {
	s.t.Helper()
	s.release()
}

// content is what a file of a round holds.
func (s *snapshotRace) content(kind string, size int) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("%-12s%03d\n", kind, s.round%1000)), size/16)
}

// files makes room and writes what a snapshot must hold then.
func (s *snapshotRace) files() map[string][]byte {
	s.t.Helper()
	s.makeRoom()
	files := map[string][]byte{"synced": s.content("synced", 256<<10), "buffered": s.content("buffered", int(s.random.Int64N(3*mib))+64<<10)}
	err := s.writeAll(files)
	// An earlier round's failure is told now, or by what is written when its mount ends. The owner mounts anew, as a pod that is started
	// again and again.
	for attempt := 0; err != nil && attempt < 3; attempt++ {
		s.t.Logf("round %d: %v; the pool: %+v", s.round, err, get(s.pool.Status(testContext(s.t)))(s.t))
		s.unmount()
		s.makeRoom()
		if err := filesystem.CheckExt4(testContext(s.t), s.source); err != nil {
			s.t.Fatal(err)
		}
		s.mount()
		err = s.writeAll(files)
	}
	if err != nil {
		s.t.Fatalf("round %d: %v", s.round, err)
	}
	return files
}

// share has the source mounted anew, with all of its blocks shared: whatever is written takes space of the pool.
func (s *snapshotRace) share() {
	s.t.Helper()
	s.unmount()
	s.makeRoom()
	if err := filesystem.CheckExt4(testContext(s.t), s.source); err != nil {
		s.t.Fatal(err)
	}
	if err := s.pool.DeleteVolume(testContext(s.t), "shared"); err != nil {
		s.t.Fatal(err)
	}
	create(s.t, s.pool, thinpool.VolumeSpec{Name: "shared", Source: "source"})
	s.mount()
}

// step takes a snapshot while the pool runs full at a failpoint, and looks at it if it is acknowledged.
func (s *snapshotRace) step(at string, recovered bool) error {
	s.t.Helper()
	s.share()
	files := s.files()
	came := at == ""
	thinpool.SetFailpoint(func(name string) {
		if name != at || came {
			return
		}
		came = true
		began := time.Now()
		last, err := fillUntil(context.Background(), s.filler)
		if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EIO) {
			s.t.Errorf("the pool took all of the filler: %v", err)
		}
		s.fillTime = last.Sub(began)
		if recovered {
			s.makeRoom()
		}
	})
	err := s.snapshot(files, nil)
	thinpool.SetFailpoint(func(string) {})
	if !came {
		s.t.Errorf("the snapshot did not come to %q", at)
	}
	return err
}

// race takes a snapshot at a random moment while the pool runs full and the source's file system is written.
func (s *snapshotRace) race() {
	s.t.Helper()
	files := s.files()
	var others sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	others.Go(func() { _, _ = fillUntil(ctx, s.filler) })
	others.Go(func() { s.noise(ctx) })
	time.Sleep(time.Duration(s.random.Int64N(int64(s.fillTime) + 1)))
	_ = s.snapshot(files, func() {
		stop()
		others.Wait()
	})
}

// snapshot takes one, ends what disturbs it, and looks at it if it is acknowledged.
func (s *snapshotRace) snapshot(files map[string][]byte, end func()) error {
	s.t.Helper()
	name := fmt.Sprintf("snapshot-%d", s.round)
	_, err := s.pool.CreateVolume(testContext(s.t), thinpool.VolumeSpec{Name: name, Source: "source"})
	full := get(s.pool.Status(testContext(s.t)))(s.t).Mode == thinpool.ModeOutOfDataSpace
	if end != nil {
		end()
	}
	if err != nil {
		s.refused++
		if !errors.Is(err, thinpool.ErrNoSpace) && !errors.Is(err, thinpool.ErrPoolFull) && !errors.Is(err, thinpool.ErrSyncFailed) {
			s.t.Errorf("round %d: the reason is not known: %v", s.round, err)
		}
		return err
	}
	s.kept++
	if full {
		s.keptFull++
	}
	s.makeRoom()
	s.look(name, files)
	return nil
}

// look compares a snapshot's files with what they must be, and deletes it.
func (s *snapshotRace) look(name string, want map[string][]byte) {
	s.t.Helper()
	mounted(s.t, activate(s.t, s.pool, name), "ext4", func(directory string) {
		for file, content := range want {
			have, err := os.ReadFile(filepath.Join(directory, file))
			if err != nil || !bytes.Equal(have, content) {
				s.t.Errorf("round %d: an acknowledged snapshot misses data that was %s: %d bytes instead of %d, %v", s.round, file, len(have), len(content), err)
			}
		}
	})
	deactivate(s.t, s.pool, name)
	if err := s.pool.DeleteVolume(testContext(s.t), name); err != nil {
		s.t.Error(err)
	}
}

// writeAll writes a round's files, in the order in which a snapshot must hold them.
func (s *snapshotRace) writeAll(files map[string][]byte) error {
	if err := s.write("synced", files["synced"], true); err != nil {
		return err
	}
	return s.write("buffered", files["buffered"], false)
}

func (s *snapshotRace) write(name string, content []byte, sync bool) error {
	file, err := os.OpenFile(filepath.Join(s.directory, name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil && sync {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// noise writes another file, and flushes it now and then, whatever comes of it.
func (s *snapshotRace) noise(ctx context.Context) {
	file, err := os.OpenFile(filepath.Join(s.directory, "noise"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer file.Close()
	block := bytes.Repeat([]byte("noise "), 20_000)
	for i := 0; ctx.Err() == nil; i++ {
		_, _ = file.WriteAt(block, int64(i%50)*int64(len(block)))
		if i%50 == 49 {
			_ = file.Sync()
		}
		time.Sleep(time.Millisecond)
	}
}

// fillUntil writes a device from its beginning until that fails or ctx ends, and says when the last write was done that did not.
func fillUntil(ctx context.Context, path string) (last time.Time, err error) {
	last = time.Now()
	device, err := os.OpenFile(path, os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		return last, err
	}
	defer device.Close()
	block, err := unix.Mmap(-1, 0, int(mib), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return last, err
	}
	defer func() { _ = unix.Munmap(block) }()
	size, err := device.Seek(0, io.SeekEnd)
	for at := int64(0); err == nil && ctx.Err() == nil && at+mib <= size; at += mib {
		if _, err = device.WriteAt(block, at); err == nil {
			last = time.Now()
		}
	}
	return last, err
}

// makeRoom gives back what the filler took, but for so much that the pool runs full soon, and waits until the kernel has
// noticed.
func (s *snapshotRace) makeRoom() {
	s.t.Helper()
	run(s.t, "blkdiscard", s.filler)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		status := get(s.pool.Status(testContext(s.t)))(s.t)
		if status.Mode == thinpool.ModeReadWrite && status.PendingDeletions == 0 {
			break
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the pool stays full: %+v", status)
		}
	}
}
