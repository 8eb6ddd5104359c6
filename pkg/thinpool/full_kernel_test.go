//go:build kernel

package thinpool_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// fillRange writes a part of a volume's device, past the page cache.
func fillRange(t testing.TB, device string, from, to int64) error {
	t.Helper()
	file := get(os.OpenFile(device, os.O_WRONLY|unix.O_DIRECT, 0))(t)
	defer file.Close()
	block := get(unix.Mmap(-1, 0, int(mib), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON))(t)
	defer func() { _ = unix.Munmap(block) }()
	copy(block, strings.Repeat("content ", int(mib)/8))
	for at := from; at < to; at += mib {
		if _, err := file.WriteAt(block[:min(mib, to-at)], at); err != nil {
			return err
		}
	}
	return file.Sync()
}

// noSpaceTimeout sets how long writers wait for space, for all pools of the kernel, and gives it back at the end of the test.
func noSpaceTimeout(t testing.TB, seconds int) {
	t.Helper()
	const path = "/sys/module/dm_thin_pool/parameters/no_space_timeout"
	before := get(os.ReadFile(path))(t)
	set := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	set(fmt.Sprint(seconds))
	t.Cleanup(func() { set(strings.TrimSpace(string(before))) })
}

// TestSpaceStates: data space goes through all its states while a volume is written, each is seen by a watcher, and deleting
// leads back.
func TestSpaceStates(t *testing.T) {
	kerneltest.CheckClean(t)
	config := configOn(kerneltest.Disk(t, 320*mib))
	config.OverprovisionMilli = 10_000
	p := open(t, client(t), config)
	ctx := testContext(t)
	total := get(p.Status(ctx))(t).Data.Total
	create(t, p, raw("filler", total/100*85))
	create(t, p, raw("more", total/100*85))
	filler, more := activate(t, p, "filler"), activate(t, p, "more")
	at := func(percent int64) int64 { return total / 100 * percent / config.BlockSize * config.BlockSize }
	for _, step := range []struct {
		device    string
		from, to  int64 // percent
		state     thinpool.SpaceState
		admitting bool
		err       error // why not
	}{
		{filler, 0, 70, thinpool.SpaceOK, true, nil},
		{filler, 70, 81, thinpool.SpaceLow, true, nil},
		{more, 0, 10, thinpool.SpaceCritical, false, thinpool.ErrBelowMinFree},
		{more, 10, 80, thinpool.SpaceFull, false, thinpool.ErrPoolFull},
	} {
		if err := fillRange(t, step.device, at(step.from), at(step.to)); err != nil && step.state != thinpool.SpaceFull {
			t.Fatal(err)
		}
		status := watched(t, p)
		if status.Data.State != step.state || status.Metadata.State != thinpool.SpaceOK || status.Admitting != step.admitting || !errors.Is(status.AdmissionError, step.err) || status.Fault != "" {
			t.Errorf("want %s: %+v", step.state, status)
		}
		_, err := p.CreateVolume(ctx, raw("refused", mib))
		if step.admitting && err == nil {
			err = p.DeleteVolume(ctx, "refused")
		}
		if !errors.Is(err, step.err) {
			t.Errorf("%s: creating ends with %v, want %v", step.state, err, step.err)
		}
	}
	// Half a percent back is no better state yet, though it may be admitted again later.
	run(t, "blkdiscard", "--length", fmt.Sprint(2*mib), more)
	status := watched(t, p)
	for deadline := time.Now().Add(20 * time.Second); status.Mode != thinpool.ModeReadWrite && time.Now().Before(deadline); status = watched(t, p) {
		time.Sleep(100 * time.Millisecond) // the kernel notices with its next commit
	}
	if status.Data.State != thinpool.SpaceFull || status.Mode != thinpool.ModeReadWrite || status.Admitting {
		t.Errorf("2 MiB are free: %+v", status)
	}
	if err := p.DeleteVolume(ctx, "filler"); err != nil {
		t.Fatal(err)
	}
	drained(t, p)
	if status := watched(t, p); status.Data.State != thinpool.SpaceOK || !status.Admitting {
		t.Errorf("after a deletion: %+v", status)
	}
	deactivate(t, p, "more")
}

// TestFullPoolWaits: writers of a pool that lets them wait do so when it is full. Meanwhile others read and overwrite, nothing is
// made, and the state is told at once. They go on when something is deleted or the pool grows, and fail when their time is up.
func TestFullPoolWaits(t *testing.T) {
	for _, name := range []string{"deletion", "growth", "timeout"} {
		t.Run(name, func(t *testing.T) {
			kerneltest.CheckClean(t)
			noSpaceTimeout(t, map[string]int{"deletion": 60, "growth": 60, "timeout": 3}[name])
			config := configOn(kerneltest.Disk(t, 320*mib))
			config.OverprovisionMilli, config.ErrorIfNoSpace = 10_000, false
			p := open(t, client(t), config)
			ctx := testContext(t)
			total := get(p.Status(ctx))(t).Data.Total
			create(t, p, ext4("kept", 32*mib))
			create(t, p, raw("victim", 32*mib))
			create(t, p, raw("writer", total/100*80))
			create(t, p, raw("filler", total/100*80))
			directory, unmount := mount(t, activate(t, p, "kept"), "ext4")
			writeFile(t, directory+"/file", "content")
			if err := fill(t, activate(t, p, "victim"), 32*mib); err != nil {
				t.Fatal(err)
			}
			deactivate(t, p, "victim")
			if err := fillRange(t, activate(t, p, "filler"), 0, total/100*70/mib*mib); err != nil {
				t.Fatal(err)
			}
			writer := activate(t, p, "writer")
			began := time.Now()
			written := make(chan error, 1)
			go func() { written <- fillRange(t, writer, 0, total/100*25/mib*mib) }()
			for watched(t, p).Mode != thinpool.ModeOutOfDataSpace {
				if time.Since(began) > 20*time.Second {
					t.Fatal("the pool does not run full")
				}
			}
			told := time.Now()
			if status := watched(t, p); status.Data.State != thinpool.SpaceFull || status.ErrorIfNoSpace || status.Fault != "" || !errors.Is(status.AdmissionError, thinpool.ErrPoolFull) {
				t.Errorf("%+v", status)
			}
			_, err := p.CreateVolume(ctx, ext4("refused", 32*mib))
			refused(t, err, thinpool.ErrPoolFull)
			_, err = p.CreateVolume(ctx, thinpool.VolumeSpec{Name: "refused", Source: "kept"})
			refused(t, err, thinpool.ErrPoolFull)
			if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o600); err != nil {
				t.Fatal(err)
			}
			expectFile(t, directory+"/file", "content")
			if err := fillRange(t, activate(t, p, "filler"), 0, mib); err != nil {
				t.Errorf("overwriting what is mapped: %v", err)
			}
			if took := time.Since(told); name != "timeout" && took > 5*time.Second {
				t.Errorf("what should not wait took %s", took)
			}
			switch name {
			case "deletion":
				if err := p.DeleteVolume(ctx, "victim"); err != nil {
					t.Fatal(err)
				}
			case "growth":
				config.Source.Devices = append(config.Source.Devices, kerneltest.Disk(t, 256*mib))
				if err := p.Reconfigure(ctx, config); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case err := <-written:
				if (err == nil) != (name != "timeout") {
					t.Errorf("the writer ends with %v", err)
				}
				t.Logf("the writer ended after %s with %v", time.Since(began), err)
			case <-time.After(30 * time.Second):
				t.Fatal("the writer hangs")
			}
			if name == "growth" {
				if status := watched(t, p); status.Mode != thinpool.ModeReadWrite || status.Data.State != thinpool.SpaceOK || !status.Admitting {
					t.Errorf("grown: %+v", status)
				}
			}
			unmount()
			for _, volume := range []string{"kept", "writer", "filler"} {
				deactivate(t, p, volume)
			}
			if err := p.DeleteVolume(ctx, "filler"); err != nil {
				t.Error(err)
			}
			drained(t, p)
			if status := watched(t, p); status.Mode != thinpool.ModeReadWrite || !status.Admitting || status.ErrorIfNoSpace {
				t.Errorf("after a deletion: %+v", status)
			}
			create(t, p, ext4("again", 32*mib))
		})
	}
}

// TestXFSGivesUp: an xfs whose metadata cannot be written, as the pool is full, gives up after the retries that it was given,
// and can be unmounted; without them it would try for ever.
func TestXFSGivesUp(t *testing.T) {
	kerneltest.CheckClean(t)
	config := configOn(kerneltest.Disk(t, 512*mib))
	config.OverprovisionMilli, config.MinFreePercent = 10_000, 0
	p := open(t, client(t), config)
	ctx := testContext(t)
	create(t, p, xfs("victim", 300*mib))
	create(t, p, raw("filler", 200*mib))
	create(t, p, raw("filler-2", 200*mib))
	device := activate(t, p, "victim")
	directory, _ := mount(t, device, "xfs")
	if err := filesystem.SetXFSNoSpaceRetries(device, 3); err != nil {
		t.Fatal(err)
	}
	writeFile(t, directory+"/before", "before")
	for _, name := range []string{"filler", "filler-2"} {
		if err := fill(t, activate(t, p, name), 200*mib); err != nil && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EIO) {
			t.Fatal(err)
		}
	}
	if status := watched(t, p); status.Data.State != thinpool.SpaceFull {
		t.Fatalf("%+v", status)
	}
	ended := make(chan error, 1)
	go func() {
		for i := range 3000 {
			if err := os.WriteFile(fmt.Sprintf("%s/%d", directory, i), []byte(strings.Repeat("x", 20_000)), 0o600); err != nil {
				ended <- err
				return
			}
		}
		fd := get(unix.Open(directory, unix.O_RDONLY, 0))(t)
		defer func() { _ = unix.Close(fd) }()
		ended <- unix.Syncfs(fd)
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("60 MB were written to a full pool")
		}
		t.Logf("writing ended with %v", err)
	case <-time.After(60 * time.Second):
		t.Fatal("writing hangs")
	}
	began := time.Now()
	if err := unix.Unmount(directory, 0); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 60*time.Second {
		t.Errorf("unmounting took %s", took)
	}
	deactivate(t, p, "filler")
	if err := p.DeleteVolume(ctx, "filler"); err != nil {
		t.Fatal(err)
	}
	drained(t, p)
	mounted(t, device, "xfs", func(directory string) { expectFile(t, directory+"/before", "before") })
	deactivate(t, p, "victim")
	deactivate(t, p, "filler-2")
}

// TestLoopFileFull: the file system below a loop file is fuller than the pool on it. The pool says so long before it is full
// itself and admits nothing. When the file system is full nothing hangs, other pools work, and after room was made and the pool
// was repaired what was there is there.
func TestLoopFileFull(t *testing.T) {
	kerneltest.CheckClean(t)
	f := newNeighbour(t)
	below, err := os.MkdirTemp(kerneltest.Scratch(t), "below-")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("below", below, "tmpfs", 0, "size=300m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(unix.Unmount(below, 0), os.Remove(below)); err != nil {
			t.Error(err)
		}
	})
	config := configOn()
	config.Source = thinpool.Source{Loopback: &thinpool.Loopback{Path: filepath.Join(below, "pool"), Size: gib}}
	p := open(t, f.dm, config)
	create(t, p, ext4("kept", 64*mib))
	create(t, p, raw("filler", 500*mib))
	mounted(t, activate(t, p, "kept"), "ext4", func(directory string) { writeFile(t, directory+"/file", "content") })
	deactivate(t, p, "kept")
	if status := watched(t, p); !status.Admitting || status.Data.State == thinpool.SpaceFull {
		t.Errorf("at first: %+v", status)
	}
	ballast := filepath.Join(below, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 150*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	status := watched(t, p)
	if status.Admitting || !errors.Is(status.AdmissionError, thinpool.ErrBelowMinFree) || !strings.Contains(status.AdmissionReason, "file system that holds") || status.Data.State != thinpool.SpaceCritical {
		t.Errorf("little is left below: %+v", status)
	}
	t.Logf("admission: %s", status.AdmissionReason)
	_, err = p.CreateVolume(testContext(t), raw("refused", mib))
	refused(t, err, thinpool.ErrBelowMinFree)

	began := time.Now()
	filler := activate(t, p, "filler")
	if err := fillRange(t, filler, 0, 300*mib); err == nil {
		t.Error("more was written than there is room for")
	} else {
		t.Logf("writing ended with %v", err)
	}
	if status := watched(t, p); status.Admitting || status.Data.State != thinpool.SpaceFull && status.Data.State != "" {
		t.Errorf("nothing is left below: %+v", status)
	} else {
		t.Logf("full: %s %s; fault: %s; admission: %s", status.Mode, status.Data.State, status.Fault, status.AdmissionReason)
	}
	f.neighbourWorks()
	_ = p.DeleteVolume(testContext(t), "filler") // may be refused, as the registry cannot be written
	if took := time.Since(began); took > 60*time.Second {
		t.Errorf("it took %s", took)
	}
	// Room is made, and the pool opened again; if the kernel wants its metadata checked, that is done.
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Volume("filler"); err == nil {
		deactivate(t, p, "filler")
	}
	if err := p.Shutdown(testContext(t)); err != nil {
		t.Logf("shutdown: %v", err)
	}
	repaired(t, f.dm, config)
	p = open(t, f.dm, config)
	mounted(t, activate(t, p, "kept"), "ext4", func(directory string) { expectFile(t, directory+"/file", "content") })
	deactivate(t, p, "kept")
	if err := p.DeleteVolume(testContext(t), "filler"); err != nil {
		t.Error(err)
	}
	drained(t, p)
	if status := watched(t, p); status.Fault != "" || !status.Admitting {
		t.Errorf("there is room: %+v", status)
	}
	create(t, p, ext4("again", 32*mib))
}
