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

// TestNoSnapshotMissesData takes snapshots of a mounted volume while its files are written and another volume runs the pool
// full. Every snapshot that is acknowledged holds what was fsynced before it was asked for, and what was written before without
// fsync as well: the owner was told of no error.
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
			for began := time.Now(); time.Since(began) < 20*time.Second || (s.kept == 0 || s.refused == 0) && time.Since(began) < time.Minute; s.round++ {
				s.run()
				if t.Failed() {
					break
				}
			}
			t.Logf("%d rounds: %d snapshots were acknowledged (%d of them in a pool that ran full before it was looked at again), %d refused, %d rounds without a start", s.round, s.kept, s.keptFull, s.refused, s.unready)
			if s.kept == 0 || s.refused == 0 {
				t.Error("the race did not go both ways")
			}
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
	// fillTime is how long the other volume takes to run the pool full, from the beginning of the last time that it did.
	fillTime time.Duration

	source, filler string // devices
	directory      string // where source is mounted
	release        func()

	round                            int
	kept, keptFull, refused, unready int
}

func (s *snapshotRace) mount() { s.directory, s.release = mount(s.t, s.source, "ext4") }

func (s *snapshotRace) unmount() {
	s.t.Helper()
	s.release()
}

// content is what a file of a round holds.
func (s *snapshotRace) content(kind string, size int) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("%-12s%03d\n", kind, s.round)), size/16)
}

// run makes room, writes, takes a snapshot while the pool runs full, makes room again and looks at the snapshot.
func (s *snapshotRace) run() {
	s.t.Helper()
	s.makeRoom()
	synced, buffered := s.content("synced", 256<<10), s.content("buffered", int(s.random.Int64N(3*mib))+64<<10)
	if err := s.write("synced", synced, true); err != nil {
		// An earlier round's failure is told now. The owner mounts anew, as a pod that is started again.
		s.unready++
		s.unmount()
		if err := filesystem.CheckExt4(testContext(s.t), s.source); err != nil {
			s.t.Error(err)
		}
		s.mount()
		return
	}
	if err := s.write("buffered", buffered, false); err != nil {
		s.t.Errorf("round %d: %v", s.round, err)
		return
	}
	var others sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	// Around the moment in which the pool runs full; in the first round that is found out.
	pause := time.Duration((0.1 + 0.6*s.random.Float64()) * float64(s.fillTime))
	began := time.Now()
	others.Go(func() { _ = fillUntil(ctx, s.filler) })
	others.Go(func() { s.noise(ctx) })
	if s.fillTime == 0 {
		for deadline := time.Now().Add(30 * time.Second); get(s.pool.Status(ctx))(s.t).Mode == thinpool.ModeReadWrite && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
		s.fillTime = time.Since(began)
	}
	time.Sleep(pause)
	name := fmt.Sprintf("snapshot-%d", s.round)
	_, err := s.pool.CreateVolume(testContext(s.t), thinpool.VolumeSpec{Name: name, Source: "source"})
	status, statusErr := s.pool.Status(testContext(s.t))
	if statusErr != nil {
		s.t.Error(statusErr)
	}
	stop()
	others.Wait()
	if err != nil {
		s.refused++
		return
	}
	s.kept++
	if status.Mode == thinpool.ModeOutOfDataSpace {
		s.keptFull++
	}
	s.makeRoom()
	s.look(name, map[string][]byte{"synced": synced, "buffered": buffered})
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

// fillUntil writes a device from its beginning until that fails or ctx ends.
func fillUntil(ctx context.Context, path string) error {
	device, err := os.OpenFile(path, os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer device.Close()
	block, err := unix.Mmap(-1, 0, int(mib), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(block) }()
	size, err := device.Seek(0, io.SeekEnd)
	for at := int64(0); err == nil && ctx.Err() == nil && at+mib <= size; at += mib {
		_, err = device.WriteAt(block, at)
	}
	return err
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
