//go:build kernel

package thinpool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/headroom"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// roomOf is what the cluster computes from a pool's published status.
func roomOf(config thinpool.Config, s thinpool.Status) headroom.Room {
	return headroom.Of(headroom.Pool{
		DataTotal: s.Data.Total, DataUsed: s.Data.Used, BaseBytes: s.BaseBytes, MinFreePercent: config.MinFreePercent,
		OverprovisionMilli: config.OverprovisionMilli, Promised: s.PromisedBytes, PendingBytes: s.PendingDeletionBytes, Admitting: s.Admitting, BlockSize: s.BlockSize,
	})
}

// TestAdmissionIsHeadroom: the engine takes exactly what the cluster computes from its status, to the block.
func TestAdmissionIsHeadroom(t *testing.T) {
	kerneltest.CheckClean(t)
	config := configOn(kerneltest.Disk(t, gib))
	p := open(t, client(t), config)
	ctx := testContext(t)
	create(t, p, ext4("first", 64*mib))
	for i := range 5 {
		room := roomOf(config, get(p.Status(ctx))(t)).LargestVolume
		if room <= 0 {
			t.Fatalf("no room in round %d", i)
		}
		_, err := p.CreateVolume(ctx, raw("too-large", room+1))
		refused(t, err, thinpool.ErrNoSpace, "can be promised", fmt.Sprint(room))
		create(t, p, raw(fmt.Sprintf("v-%d", i), room/2+config.BlockSize))
	}
	create(t, p, raw("rest", roomOf(config, get(p.Status(ctx))(t)).LargestVolume))
	_, err := p.CreateVolume(ctx, raw("one-block", 1))
	refused(t, err, thinpool.ErrNoSpace)
	if err := p.DeleteVolume(ctx, "v-0"); err != nil {
		t.Fatal(err)
	}
	create(t, p, raw("one-block", 1))
}

func fill(t testing.TB, path string, size int64) error {
	t.Helper()
	device := get(os.OpenFile(path, os.O_WRONLY|unix.O_DIRECT, 0))(t)
	defer device.Close()
	// Memory of a mapping is aligned as direct I/O wants it.
	block := get(unix.Mmap(-1, 0, int(mib), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON))(t)
	defer func() { _ = unix.Munmap(block) }()
	copy(block, strings.Repeat("content ", int(mib)/8))
	for at := int64(0); at+mib <= size; at += mib {
		if _, err := device.WriteAt(block, at); err != nil {
			return err
		}
	}
	return device.Sync()
}

// TestFullPool fills an overprovisioned pool with data: from minFreeSpace on nothing is admitted, writers get ENOSPC, what
// is there stays readable, deleting works and brings everything back.
func TestFullPool(t *testing.T) {
	kerneltest.CheckClean(t)
	config := configOn(kerneltest.Disk(t, 320*mib))
	config.OverprovisionMilli = 10_000
	p := open(t, client(t), config)
	ctx := testContext(t)
	total := get(p.Status(ctx))(t).Data.Total
	create(t, p, ext4("kept", 64*mib))
	create(t, p, raw("filler-1", total/100*85))
	create(t, p, raw("filler-2", total/100*85))
	kept := activate(t, p, "kept")
	mounted(t, kept, "ext4", func(directory string) { writeFile(t, directory+"/file", "content") })

	if err := fill(t, activate(t, p, "filler-1"), total/100*85); err != nil {
		t.Fatal(err)
	}
	// 93%: above what minFreeSpace leaves.
	if err := fill(t, activate(t, p, "filler-2"), total/100*8); err != nil {
		t.Fatal(err)
	}
	status := get(p.Status(ctx))(t)
	if status.Admitting || !strings.Contains(status.AdmissionReason, "minFreeSpace") || status.Mode != thinpool.ModeReadWrite {
		t.Errorf("at %d of %d: %+v", status.Data.Used, status.Data.Total, status)
	}
	_, err := p.CreateVolume(ctx, raw("refused", mib))
	refused(t, err, thinpool.ErrNoSpace, "minFreeSpace")
	_, err = p.CreateVolume(ctx, ext4("refused", 96*mib)) // needs a base
	refused(t, err, thinpool.ErrNoSpace, "minFreeSpace")

	if err := fill(t, activate(t, p, "filler-2"), total/100*80); !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EIO) {
		t.Errorf("writing beyond the pool's end: %v", err)
	}
	status = get(p.Status(ctx))(t)
	if status.Mode != thinpool.ModeOutOfDataSpace || status.Admitting || status.NeedsCheck {
		t.Errorf("full: %+v", status)
	}
	_, err = p.CreateVolume(ctx, raw("refused", mib))
	refused(t, err, thinpool.ErrNoSpace)
	// Mapped blocks are written on a full pool.
	mounted(t, kept, "ext4", func(directory string) { expectFile(t, directory+"/file", "content") })

	if err := p.DeleteVolume(ctx, "filler-1"); err != nil {
		t.Fatal(err)
	}
	drained(t, p)
	status = get(p.Status(ctx))(t)
	if status.Mode != thinpool.ModeReadWrite || !status.Admitting {
		t.Errorf("after a deletion: %+v", status)
	}
	create(t, p, raw("again", mib))
	if err := p.DeleteVolume(ctx, "filler-2"); err != nil {
		t.Fatal(err)
	}
	deactivate(t, p, "kept")
}

// TestWatch: an event of the kernel reaches the watcher long before its interval, and the interval reaches it too.
func TestWatch(t *testing.T) {
	kerneltest.CheckClean(t)
	config := configOn(kerneltest.Disk(t, 320*mib))
	config.OverprovisionMilli = 2000
	p := open(t, client(t), config)
	total := get(p.Status(testContext(t)))(t).Data.Total
	create(t, p, raw("filler", total/100*85))
	create(t, p, raw("more", total/100*8))
	calls := make(chan thinpool.Status, 100)
	watch := func(interval time.Duration) (stop func()) {
		ctx, cancel := context.WithCancel(testContext(t))
		ended := make(chan error, 1)
		go func() {
			ended <- p.Watch(ctx, interval, func() {
				if status, err := p.Status(ctx); err == nil {
					calls <- status
				}
			})
		}()
		return func() {
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("Watch ended with %v", err)
			}
		}
	}
	next := func(within time.Duration) thinpool.Status {
		select {
		case status := <-calls:
			return status
		case <-time.After(within):
			t.Fatalf("no call within %s", within)
			return thinpool.Status{}
		}
	}
	stop := watch(time.Hour)
	if status := next(10 * time.Second); !status.Admitting {
		t.Errorf("at first: %+v", status)
	}
	for name, percent := range map[string]int64{"filler": 85, "more": 8} {
		if err := fill(t, activate(t, p, name), total/100*percent); err != nil {
			t.Fatal(err)
		}
	}
	for status := next(10 * time.Second); status.Admitting; status = next(10 * time.Second) {
		t.Logf("an event at %d of %d bytes", status.Data.Used, status.Data.Total)
	}
	stop()
	stop = watch(50 * time.Millisecond)
	for range 4 {
		next(10 * time.Second)
	}
	stop()
	deactivate(t, p, "filler")
	deactivate(t, p, "more")
	// A pool that is closed ends its watchers.
	ended := make(chan error, 1)
	go func() { ended <- p.Watch(testContext(t), time.Hour, func() {}) }()
	time.Sleep(50 * time.Millisecond)
	if err := p.Shutdown(testContext(t)); err != nil {
		t.Error(err)
	}
	refused(t, <-ended, thinpool.ErrPoolClosed)
}

// TestReconfigure changes what may change, under a mounted volume, and sees it in the kernel and after opening again.
func TestReconfigure(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, config := client(t), configOn(kerneltest.Disk(t, gib))
	p := open(t, dm, config)
	ctx := testContext(t)
	create(t, p, ext4("v", 64*mib))
	directory, unmount := mount(t, activate(t, p, "v"), "ext4")
	if status := get(p.Status(ctx))(t); !status.ErrorIfNoSpace || !status.DiscardPassdown {
		t.Errorf("at first: %+v", status)
	}
	config.ErrorIfNoSpace, config.DiscardPassdown = false, false
	if err := p.Reconfigure(ctx, config); err != nil {
		t.Fatal(err)
	}
	writeFile(t, directory+"/file", "content")
	if status := get(p.Status(ctx))(t); status.ErrorIfNoSpace || status.DiscardPassdown {
		t.Errorf("changed: %+v", status)
	}
	closed(t, p)
	config.ErrorIfNoSpace, config.MinFreePercent = true, 99
	p = open(t, dm, config)
	if status := get(p.Status(ctx))(t); !status.ErrorIfNoSpace || status.DiscardPassdown {
		t.Errorf("opened with another configuration: %+v", status)
	}
	_, err := p.CreateVolume(ctx, raw("large", 100*mib))
	refused(t, err, thinpool.ErrNoSpace)
	config.MinFreePercent, config.OverprovisionMilli = 0, 5000
	if err := p.Reconfigure(ctx, config); err != nil {
		t.Fatal(err)
	}
	create(t, p, raw("large", 700*mib))
	create(t, p, raw("larger", 800*mib))
	config.OverprovisionMilli = 1
	refused(t, p.Reconfigure(ctx, config), thinpool.ErrInvalid, "overprovision")
	writeFile(t, directory+"/file", "other")
	unmount()
	deactivate(t, p, "v")
}
