//go:build kernel

package devicemapper_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// mountExt4 formats the device and mounts it for the test.
func mountExt4(t *testing.T, path string) string {
	t.Helper()
	if out, err := exec.Command("mkfs.ext4", "-q", path).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	directory := t.TempDir()
	if err := syscall.Mount(path, directory, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(directory, 0); err != nil && !errors.Is(err, syscall.EINVAL) {
			t.Errorf("unmount: %v", err)
		}
	})
	return directory
}

// With lockfs the file system is written out before the suspend returns,
// without it is left as it is.
func TestSuspendLockFS(t *testing.T) {
	for name, options := range map[string]devicemapper.SuspendOptions{
		"lockfs":      {},
		"skip lockfs": {SkipLockFS: true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, c := open(t)
			below := disk(t, 32*mebibyte)
			device := activate(ctx, t, c, "mounted", linear(below, 0, devicemapper.SectorsOf(32*mebibyte)))
			directory := mountExt4(t, device.Path())
			pattern := bytes.Repeat([]byte("not synced yet; "), 4096)
			if err := os.WriteFile(filepath.Join(directory, "file"), pattern, 0o600); err != nil {
				t.Fatal(err)
			}
			if onDisk(t, below, pattern) {
				t.Fatal("the file is on disk before the suspend")
			}
			if err := c.Suspend(ctx, device, options); err != nil {
				t.Fatal(err)
			}
			if info, err := c.Info(ctx, device); err != nil || !info.Suspended {
				t.Errorf("info %#v, %v, want suspended", info, err)
			}
			if got, want := onDisk(t, below, pattern), !options.SkipLockFS; got != want {
				t.Errorf("the file is on disk: %v, want %v", got, want)
			}
			if err := c.Suspend(ctx, device, options); err != nil {
				t.Errorf("second suspend: %v", err)
			}
			if err := c.Resume(ctx, device); err != nil {
				t.Fatal(err)
			}
			if err := c.Resume(ctx, device); err != nil {
				t.Errorf("second resume: %v", err)
			}
			if err := os.WriteFile(filepath.Join(directory, "after"), pattern, 0o600); err != nil {
				t.Errorf("write after resume: %v", err)
			}
		})
	}
}

func onDisk(t *testing.T, number devicemapper.DeviceNumber, pattern []byte) bool {
	t.Helper()
	file := direct(t, node(number))
	defer file.Close()
	memory, err := syscall.Mmap(-1, 0, 32*mebibyte, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(memory)
	if _, err := file.ReadAt(memory, 0); err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(memory, pattern)
}

// A suspended device holds writes back until it is resumed.
func TestSuspendHoldsIO(t *testing.T) {
	ctx, c := open(t)
	device := activate(ctx, t, c, "held", linear(disk(t, mebibyte), 0, 2048))
	file := direct(t, device.Path())
	defer file.Close()
	if err := c.Suspend(ctx, device, devicemapper.SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		_, err := file.WriteAt(block(1), 0)
		written <- err
	}()
	select {
	case err := <-written:
		t.Errorf("a write passed a suspended device: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := c.Resume(ctx, device); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// Suspend waits for I/O in a way that signals interrupt. The runtime sends
// signals at any time; none may show.
func TestSuspendSurvivesSignals(t *testing.T) {
	ctx, c := open(t)
	below := activate(ctx, t, c, "below", linear(disk(t, mebibyte), 0, 2048))
	device := activate(ctx, t, c, "above", linear(below.Number, 0, 2048))
	file := direct(t, device.Path())
	defer file.Close()
	if err := c.Suspend(ctx, below, devicemapper.SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := file.ReadAt(block(0), 0)
		read <- err
	}()
	time.Sleep(20 * time.Millisecond) // the read is under way, and stuck below
	time.AfterFunc(300*time.Millisecond, func() {
		if err := c.Resume(ctx, below); err != nil {
			t.Error(err)
		}
	})

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread, stop, stopped := syscall.Gettid(), make(chan struct{}), make(chan int)
	go func() {
		sent := 0
		defer func() { stopped <- sent }()
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				if syscall.Tgkill(syscall.Getpid(), thread, syscall.SIGURG) == nil {
					sent++
				}
			}
		}
	}()
	began := time.Now()
	err := c.Suspend(ctx, device, devicemapper.SuspendOptions{})
	took := time.Since(began)
	close(stop)
	sent := <-stopped
	if err != nil {
		t.Errorf("suspend under %d signals: %v", sent, err)
	}
	if sent < 10 || took < 100*time.Millisecond {
		t.Errorf("%d signals in %v: too few to tell", sent, took)
	}
	if err := c.Resume(ctx, device); err != nil {
		t.Error(err)
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
}

// A suspend that meets an unmount waits for it (Linux 6.1) or is refused with
// EINVAL (6.12), no more, and a refused one leaves the device running.
func TestSuspendRacesUnmount(t *testing.T) {
	ctx, c := open(t)
	device := activate(ctx, t, c, "race", linear(disk(t, 32*mebibyte), 0, devicemapper.SectorsOf(32*mebibyte)))
	directory := mountExt4(t, device.Path())
	refused := 0
	for round := range 60 {
		if err := os.WriteFile(filepath.Join(directory, "file"), make([]byte, mebibyte), 0o600); err != nil {
			t.Fatal(err)
		}
		unmounted := make(chan error, 1)
		go func() { unmounted <- syscall.Unmount(directory, 0) }()
		time.Sleep(time.Duration(round) * 100 * time.Microsecond) // somewhere within the unmount
		for {
			err := c.Suspend(ctx, device, devicemapper.SuspendOptions{}) // the context ends it in the end
			if err == nil {
				break
			}
			refused++
			if !errors.Is(err, syscall.EINVAL) {
				t.Fatalf("suspend: %v", err)
			}
			if info, err := c.Info(ctx, device); err != nil || info.Suspended {
				t.Fatalf("info after a refused suspend: %#v, %v", info, err)
			}
		}
		if err := c.Resume(ctx, device); err != nil {
			t.Fatal(err)
		}
		if err := <-unmounted; err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount(device.Path(), directory, "ext4", 0, ""); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d suspends refused", refused)
}

func TestSuspendInEndedContext(t *testing.T) {
	ctx, c := open(t)
	device := activate(ctx, t, c, "ended", zeroTable)
	ended, cancel := context.WithCancelCause(ctx)
	why := errors.New("the reason")
	cancel(why)
	if err := c.Suspend(ended, device, devicemapper.SuspendOptions{}); !errors.Is(err, why) {
		t.Errorf("suspend: %v, want the cause", err)
	}
	if info, err := c.Info(ctx, device); err != nil || info.Suspended {
		t.Errorf("info %#v, %v", info, err)
	}
}
