//go:build kernel

package thinpool_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// pendingNone waits until all blocks of what was deleted are given back.
func pendingNone(ctx context.Context, p *thinpool.Pool) error {
	for {
		status, err := p.Status(ctx)
		if err != nil || status.PendingDeletions == 0 {
			return err
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d deletions of %d bytes are pending: %w", status.PendingDeletions, status.PendingDeletionBytes, ctx.Err())
		}
	}
}

// drained waits until no deletion is pending.
func drained(t testing.TB, p *thinpool.Pool) {
	t.Helper()
	if err := pendingNone(testContext(t), p); err != nil {
		t.Fatal(err)
	}
}

// atFailpoints has f called at each failpoint until the test ends.
func atFailpoints(t testing.TB, f func(name string)) {
	thinpool.SetFailpoint(f)
	t.Cleanup(func() { thinpool.SetFailpoint(func(string) {}) })
}

// disks are what a pool can lie on: one that passes discards down, and one that does not.
var disks = map[string]func(t testing.TB) string{
	"passed down": func(t testing.TB) string { return kerneltest.Disk(t, 2*gib) },
	"kept":        kerneltest.MachineDisk,
}

// TestDeleteInBackground: a volume of more than a slice is gone for its owner at once and its name is free; its blocks come
// back in slices, are counted until then, count against what can be promised, and all of them come back.
func TestDeleteInBackground(t *testing.T) {
	for name, disk := range disks {
		t.Run(name, func(t *testing.T) {
			kerneltest.CheckClean(t)
			ctx, dm := testContext(t), client(t)
			slice := make(chan struct{})
			var slices, left atomic.Int32
			atFailpoints(t, func(name string) {
				switch name {
				case "delete: slice discarded":
					if slices.Add(1) == 1 {
						<-slice
					}
				case "delete: left to the background":
					left.Add(1)
				}
			})
			p := open(t, dm, configOn(disk(t)))
			empty := get(p.Status(ctx))(t)
			const size, written = 600 * mib, 256 * mib // 4,096 blocks
			create(t, p, raw("v", size))
			if err := fill(t, activate(t, p, "v"), written); err != nil {
				t.Fatal(err)
			}
			deactivate(t, p, "v")
			full := get(p.Status(ctx))(t)
			if err := p.DeleteVolume(ctx, "v"); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Volume("v"); err == nil {
				t.Error("the volume is found after its deletion")
			}
			pending := get(p.Status(ctx))(t)
			if pending.PendingDeletions != 1 || pending.PendingDeletionBytes != written || pending.PromisedBytes != 0 || left.Load() != 1 {
				t.Errorf("while it is pending: %+v, %d were left", pending, left.Load())
			}
			if used := pending.Data.Used; used > full.Data.Used || used < full.Data.Used-64*mib {
				t.Errorf("%d bytes were used, %d are after the first slice", full.Data.Used, used)
			}
			room := roomOf(p.Config(), pending).LargestVolume
			_, err := p.CreateVolume(ctx, raw("too-large", room+1))
			refused(t, err, thinpool.ErrNoSpace, fmt.Sprint(room))
			again := create(t, p, raw("v", size))
			close(slice)
			drained(t, p)
			after := get(p.Status(ctx))(t)
			if after.Data.Used != empty.Data.Used || after.PendingDeletionBytes != 0 || after.PromisedBytes != size {
				t.Errorf("at the end %+v, at the beginning %+v", after, empty)
			}
			// Without passdown the last slice is the delete message's.
			if want := map[string]int32{"passed down": 4, "kept": 3}[name]; slices.Load() < want || slices.Load() > 8*want {
				t.Errorf("%d slices, want %d", slices.Load(), want)
			}
			if v := get(p.Volume("v"))(t); v.ThinID != again.ThinID {
				t.Errorf("the volume that came after has thin id %d instead of %d", v.ThinID, again.ThinID)
			}
		})
	}
}

// TestDeleteSmall: volumes of no more than a slice are given back by the call, however large and however scattered.
func TestDeleteSmall(t *testing.T) {
	for name, disk := range disks {
		t.Run(name, func(t *testing.T) {
			kerneltest.CheckClean(t)
			ctx := testContext(t)
			atFailpoints(t, func(name string) {
				if name == "delete: left to the background" {
					t.Error("a small volume was left to the background")
				}
			})
			config := configOn(disk(t))
			config.OverprovisionMilli = 100_000
			p := open(t, client(t), config)
			create(t, p, ext4("v", 8*mib*32))
			used := get(p.Status(ctx))(t).Data.Used
			create(t, p, raw("w", gib))
			device := get(os.OpenFile(activate(t, p, "w"), os.O_WRONLY, 0))(t)
			for at := int64(0); at < gib; at += 4 * mib {
				get(device.WriteAt([]byte("scattered"), at))(t)
			}
			if err := device.Sync(); err != nil {
				t.Fatal(err)
			}
			if err := device.Close(); err != nil {
				t.Fatal(err)
			}
			for _, v := range []string{"w", "v"} {
				if err := p.DeleteVolume(ctx, v); err != nil {
					t.Fatal(err)
				}
			}
			if status := get(p.Status(ctx))(t); status.PendingDeletions != 0 || status.Data.Used != used {
				t.Errorf("%d bytes are used, were %d: %+v", status.Data.Used, used, status)
			}
		})
	}
}

// TestCloseDuringDeletion closes the pool between two slices and opens it again: the deletion goes on where it was. What a
// snapshot's neighbour shares with it stays.
func TestCloseDuringDeletion(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, config := client(t), testContext(t), configOn(kerneltest.Disk(t, 2*gib))
	thinpool.SetDeletionSlice(8)
	defer thinpool.SetDeletionSlice(1024)
	p := get(thinpool.Open(ctx, dm, config))(t)
	create(t, p, ext4("neighbour", 256*mib))
	used := get(p.Status(ctx))(t).Data.Used
	create(t, p, ext4("v", 256*mib))
	mounted(t, activate(t, p, "v"), "ext4", func(directory string) { writeRandom(t, filepath.Join(directory, "file"), 100*mib) })
	reached, goOn := make(chan struct{}), make(chan struct{})
	var slices atomic.Int32
	atFailpoints(t, func(name string) {
		if name == "delete: slice discarded" && slices.Add(1) == 3 {
			close(reached)
			<-goOn
		}
	})
	if err := p.DeleteVolume(ctx, "v"); err != nil {
		t.Fatal(err)
	}
	<-reached
	shut := make(chan error, 1)
	go func() { shut <- p.Shutdown(ctx) }()
	for {
		if _, err := p.Status(ctx); err != nil {
			break // it is closing
		}
		time.Sleep(time.Millisecond)
	}
	close(goOn)
	if err := <-shut; err != nil {
		t.Fatal(err)
	}
	if n := slices.Load(); n != 3 {
		t.Errorf("%d slices were discarded, the pool was closed at the third", n)
	}
	p = open(t, dm, config)
	if status := get(p.Status(ctx))(t); status.PendingDeletions != 1 || status.PendingDeletionBytes < 50*mib || status.Volumes != 1 {
		t.Errorf("opened again: %+v", status)
	}
	drained(t, p)
	if after := get(p.Status(ctx))(t).Data.Used; after != used {
		t.Errorf("%d bytes are used, %d were before the volume was made", after, used)
	}
	mounted(t, activate(t, p, "neighbour"), "ext4", func(string) {})
	deactivate(t, p, "neighbour")
}

// TestDeletionIsRetried: a deleted thin device that somebody has open keeps the others from nothing, and goes when it is
// free, without anybody's asking.
func TestDeletionIsRetried(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	p := open(t, dm, configOn(kerneltest.Disk(t, 2*gib)))
	thinpool.SetDeletionSlice(8)
	defer thinpool.SetDeletionSlice(1024)
	status := get(p.Status(ctx))(t)
	prefix := status.DeviceName[:len(status.DeviceName)-len("pool")]
	v := create(t, p, raw("v", 64*mib))
	if err := fill(t, activate(t, p, "v"), 8*mib); err != nil {
		t.Fatal(err)
	}
	deactivate(t, p, "v")
	var holder *os.File
	var held atomic.Bool
	atFailpoints(t, func(name string) {
		// A prober opens the device when it appears.
		if name == "delete: active for discards" && !held.Swap(true) {
			info := get(dm.Info(ctx, devicemapper.Name(prefix+"base-"+itoa(v.ThinID))))(t)
			holder = get(os.Open(info.Path()))(t)
		}
	})
	if err := p.DeleteVolume(ctx, "v"); err != nil {
		t.Fatal(err)
	}
	create(t, p, raw("w", 64*mib))
	if err := p.DeleteVolume(ctx, "w"); err != nil {
		t.Fatal(err)
	}
	if status := get(p.Status(ctx))(t); status.PendingDeletions != 1 {
		t.Errorf("%d deletions are pending", status.PendingDeletions)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	drained(t, p)
}
