//go:build kernel

package strictcut

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/crash/content"
	"github.com/csi-dm/csi-dm/test/crash/writelog"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestDeletedSnapshotKeepsItsOrigin deletes a snapshot while its origin is being overwritten, which takes the blocks that both
// share from the origin. At no moment may what the origin had durable be lost: the kernel passes discards down at once, and
// records only later that the origin has blocks of its own.
func TestDeletedSnapshotKeepsItsOrigin(t *testing.T) {
	kerneltest.CheckClean(t)
	r := newRecording(t)
	r.disk = kerneltest.Disk(t, poolSize) // which passes discards down; the machine's disks do not, with dm-thin
	const blocks, blockSize, rounds = 8, 64 << 10, 5
	before, after := content.Chunk(1, 1), content.Chunk(2, 2) // of the second and the first 16 KiB of each block
	r.work(t, func(ctx context.Context, pool *thinpool.Pool) {
		spec := thinpool.VolumeSpec{Name: "origin", Size: blocks * blockSize, Format: filesystem.Format{}}
		if _, err := pool.CreateVolume(ctx, spec); err != nil {
			t.Fatal(err)
		}
		path, err := pool.Activate(ctx, "origin")
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for block := range int64(blocks) {
			if _, err := file.WriteAt(before, block*blockSize+content.ChunkSize); err != nil {
				t.Fatal(err)
			}
		}
		if err := file.Sync(); err != nil {
			t.Fatal(err)
		}
		r.mark(ctx, t, "durable")
		for range rounds {
			if _, err := pool.CreateVolume(ctx, thinpool.VolumeSpec{Name: "snapshot", Source: "origin"}); err != nil {
				t.Fatal(err)
			}
			if err := overwrite(path, after, blocks, blockSize); err != nil {
				t.Fatal(err)
			}
			// The pool commits by itself every second (COMMIT_PERIOD in dm-thin.c): this should come before.
			if err := pool.DeleteVolume(ctx, "snapshot"); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				if status, err := pool.Status(ctx); err != nil || status.PendingDeletions == 0 || time.Now().After(deadline) {
					break
				}
			}
		}
		file.Close()
		if err := pool.Deactivate(ctx, "origin"); err != nil {
			t.Error(err)
		}
	})
	log, closeLog := r.read(t)
	defer closeLog()
	disks, judged := newRewound(t, log), 0
	for _, moment := range log.Moments() {
		if !slices.Contains(log.Marks(0, moment), "durable") {
			continue
		}
		judged++
		if err := disks.look(t, moment, func(path string) error {
			file, err := os.Open(path)
			if err != nil {
				return err
			}
			defer file.Close()
			got := make([]byte, content.ChunkSize)
			for block := range int64(blocks) {
				if _, err := file.ReadAt(got, block*blockSize+content.ChunkSize); err != nil {
					return err
				}
				if !bytes.Equal(got, before) {
					return fmt.Errorf("block %d: what was durable is lost: it begins with %x", block, got[:16])
				}
			}
			return nil
		}); err != nil {
			t.Errorf("%d entries: %v", moment, err)
			return
		}
	}
	discards := 0
	for _, entry := range log.Entries {
		if entry.Is(writelog.Discard) {
			discards++
		}
	}
	if t.Logf("%d moments of %d entries, %d of which are discards", judged, len(log.Entries), discards); judged < 5 {
		t.Error("the test has seen too little")
	}
}

// mark puts a name into the record.
func (r *recording) mark(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	if _, err := r.dm.Message(ctx, r.device, 0, "mark "+name); err != nil {
		t.Fatal(err)
	}
}

// overwrite writes to the first part of each block past the page cache, without a flush.
func overwrite(path string, data []byte, blocks, blockSize int64) error {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	// O_DIRECT wants memory that is aligned, as a mapping is.
	aligned, err := unix.Mmap(-1, 0, len(data), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(aligned) }()
	copy(aligned, data)
	for block := range blocks {
		if _, err := file.WriteAt(aligned, block*blockSize); err != nil {
			return err
		}
	}
	return nil
}

// look opens the pool as it was at a moment, and runs do with the device of the volume "origin".
func (r *rewound) look(t *testing.T, moment int, do func(path string) error) error {
	t.Helper()
	return r.at(t, strictCut{moment: moment}, func(ctx context.Context, device devicemapper.Device) (err error) {
		pool, err := thinpool.Open(ctx, r.dm, config(device.Path()))
		if err != nil {
			return err
		}
		path, err := pool.Activate(ctx, "origin")
		if err == nil {
			err = do(path)
		}
		if undo := pool.Deactivate(ctx, "origin"); undo != nil {
			return undo
		}
		if undo := pool.Shutdown(ctx); undo != nil {
			return undo
		}
		return err
	})
}
