//go:build kernel

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

const (
	// holdBound is how long a snapshot may hold the I/O of a mounted volume, in milliseconds.
	holdBound = 20
	// bufferedRate of the load through the page cache, in bytes a second, and the size of the file that it goes round in.
	bufferedRate = 50 << 20
	bufferedFile = 256 << 20
	// snapshotPause lies between two snapshots.
	snapshotPause = 200 * time.Millisecond
)

// snapshots measures how long the I/O of a mounted volume is held while a snapshot of it is made, under load.
func (r *run) snapshots(t *testing.T) {
	table := newTable("file system", "load", "I/O held p50 ms", "worst", "snapshot took p50 ms", "longest write p50 ms", "worst", "without snapshots, worst", "snapshots")
	parts := newTable("file system", "load", "writing out", "freezing", "the kernel's snapshot", "resuming", "the rest")
	for _, fsType := range filesystem.Types {
		for _, load := range []struct {
			name     string
			buffered bool
		}{
			{"4 KiB O_DIRECT and fsync", false},
			{"the same, and 50 MB/s through the page cache", true},
		} {
			t.Run(string(fsType), func(t *testing.T) {
				name := r.sampleName()
				r.engine.create(r.ctx, t, name, fsType)
				directory := t.TempDir()
				must(t, mountOn(r.engine.activate(r.ctx, t, name), fsType, directory))
				defer func() {
					must(t, unix.Unmount(directory, 0))
					must(t, r.engine.pool.Deactivate(r.ctx, name))
					must(t, r.engine.pool.DeleteVolume(r.ctx, name))
				}()
				probed := filepath.Join(directory, "probed")
				must(t, os.WriteFile(probed, make([]byte, 1<<20), 0o600))
				probe := neighbour{Path: probed, Size: 4096, Stride: 4096, Around: 256, Sync: true}.start(t)
				defer probe.stop(t)
				if load.buffered {
					const piece = 1 << 20
					n := neighbour{Path: filepath.Join(directory, "buffered"), Size: piece, Buffered: true, Stride: piece, Around: bufferedFile / piece, Every: time.Second * piece / bufferedRate}
					defer n.start(t).stop(t)
				}
				time.Sleep(time.Second)
				probe.take(t)
				time.Sleep(time.Duration(r.plan.snapshots) * snapshotPause)
				without := probe.take(t).quantile(1)

				var held, took, longest sample
				watch := newStopwatch("snapshot: ")
				for i := range r.plan.snapshots {
					watch.begin()
					v, err := r.engine.pool.CreateVolume(r.ctx, thinpool.VolumeSpec{Name: fmt.Sprintf("%s-snapshot-%d", name, i), Source: name})
					took = append(took, watch.end())
					must(t, err)
					watch.keep()
					held = append(held, v.SourceHeld)
					time.Sleep(snapshotPause / 4) // the write that was held ends
					longest = append(longest, probe.take(t).quantile(1))
					time.Sleep(snapshotPause)
					probe.take(t)
				}
				for i := range r.plan.snapshots {
					must(t, r.engine.pool.DeleteVolume(r.ctx, fmt.Sprintf("%s-snapshot-%d", name, i)))
				}
				table.row(string(fsType), load.name, milliseconds(held.median()), milliseconds(held.quantile(1)), milliseconds(took.median()),
					milliseconds(longest.median()), milliseconds(longest.quantile(1)), milliseconds(without), strconv.Itoa(len(held)))
				parts.row(string(fsType), load.name, watch.cell("until source written out"), watch.cell("until source held"), watch.cell("until made, source held"), watch.cell("until source resumed"), watch.cell("rest"))
				r.verdicts.atMost(fmt.Sprintf("snapshot of a mounted %s under load (%s): I/O held, longest of %d", fsType, load.name, len(held)), float64(held.quantile(1).Microseconds())/1000, holdBound, " ms")
			})
		}
	}
	r.print("Snapshot of a mounted volume. Held: from before the suspend until behind the resume. Longest write: of 4 KiB and its fsync, beside the snapshot:\n\n%s", table)
	r.print("What a snapshot consists of: median / longest in milliseconds. From freezing to resuming the I/O is held:\n\n%s", parts)
}

// mountOn mounts a device as staging does.
func mountOn(device string, fsType filesystem.Type, directory string) error {
	target, err := os.OpenFile(directory, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer target.Close()
	return filesystem.Mount(device, fsType, filesystem.MountOptions{}, target)
}
