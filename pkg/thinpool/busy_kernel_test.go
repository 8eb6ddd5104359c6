//go:build kernel

package thinpool_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// leak starts a process with a mount namespace of its own, to which all mounts of this moment leak. stop ends it.
func leak(t testing.TB) (stop func()) {
	t.Helper()
	command := exec.Command("sleep", "600")
	command.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		_ = command.Process.Kill()
		_ = command.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// TestLeakedMount: a volume's mount has leaked into another mount namespace. The volume's device is removed when that ends; it
// can be used again before, and deleted: the name is free at once, and the blocks come back when the namespace is gone, over a
// restart of the agent as well.
func TestLeakedMount(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, config := client(t), testContext(t), configOn(kerneltest.Disk(t, gib))
	p := open(t, dm, config)
	spec := ext4("v", 64*mib)
	v := create(t, p, spec)
	device := activate(t, p, "v")
	directory, _ := mount(t, device, "ext4")
	writeFile(t, filepath.Join(directory, "file"), "content")
	// In use: nothing is abandoned.
	refused(t, p.DeleteVolume(ctx, "v"), thinpool.ErrVolumeInUse)
	if _, err := p.Volume("v"); err != nil {
		t.Fatal(err)
	}
	stop := leak(t)
	// Removing the directory as well would end the mount everywhere.
	if err := unix.Unmount(directory, 0); err != nil {
		t.Fatal(err)
	}
	refused(t, p.Deactivate(ctx, "v"), thinpool.ErrVolumeInUse, "when it is closed")
	if status := get(p.Status(ctx))(t); status.DeferredRemovals != 1 {
		t.Errorf("%d removals are deferred", status.DeferredRemovals)
	}
	// Counted after a restart, too. Whoever wants the volume meanwhile gets it.
	closed(t, p)
	p = open(t, dm, config)
	if status := get(p.Status(ctx))(t); status.DeferredRemovals != 1 {
		t.Errorf("%d removals are deferred after opening again", status.DeferredRemovals)
	}
	if again := activate(t, p, "v"); again != device {
		t.Errorf("activation gives %s, before %s", again, device)
	}
	if status := get(p.Status(ctx))(t); status.DeferredRemovals != 0 {
		t.Errorf("%d removals are deferred after an activation", status.DeferredRemovals)
	}
	mounted(t, device, "ext4", func(directory string) { expectFile(t, filepath.Join(directory, "file"), "content") })

	if err := p.DeleteVolume(ctx, "v"); err != nil {
		t.Fatal(err)
	}
	if status := get(p.Status(ctx))(t); status.PendingDeletions != 1 || status.Volumes != 0 || status.DeferredRemovals != 1 {
		t.Errorf("%+v", status)
	}
	again := create(t, p, spec)
	if again.ThinID == v.ThinID {
		t.Error("the new volume of that name has the old one's thin device")
	}
	other := activate(t, p, "v")
	if other == device {
		t.Error("the new volume of that name has the old one's block device")
	}
	mounted(t, other, "ext4", func(directory string) {
		if _, err := os.Stat(filepath.Join(directory, "file")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the new volume holds the old one's file: %v", err)
		}
	})
	deactivate(t, p, "v")
	closed(t, p)
	p = open(t, dm, config)
	if status := get(p.Status(ctx))(t); status.PendingDeletions != 1 || status.Volumes != 1 {
		t.Errorf("%+v", status)
	}
	stop()
	eventually(t, "the blocks of the deleted volume come back", func() bool {
		status := get(p.Status(ctx))(t)
		return status.PendingDeletions == 0 && status.DeferredRemovals == 0
	})
	if err := os.Remove(directory); err != nil {
		t.Error(err)
	}
}

// TestBusyDevice: a process holds a device open for longer than a prober does. Deactivate says so, and the device goes when it
// is closed; an activation in that moment gets it, or a new one.
func TestBusyDevice(t *testing.T) {
	kerneltest.CheckClean(t)
	dm := client(t)
	p := open(t, dm, configOn(kerneltest.Disk(t, gib)))
	ctx := testContext(t)
	v := create(t, p, raw("v", 64*mib))
	uuid := devicemapper.UUID("CSIDM-" + get(p.Status(ctx))(t).PoolID + "-thin-" + itoa(v.ThinID))
	// A prober: gone before anybody notices.
	probe := get(os.Open(activate(t, p, "v")))(t)
	go func() {
		time.Sleep(100 * time.Millisecond)
		_ = probe.Close()
	}()
	deactivate(t, p, "v")

	holder := get(os.Open(activate(t, p, "v")))(t)
	began := time.Now()
	refused(t, p.Deactivate(ctx, "v"), thinpool.ErrVolumeInUse)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	// A volume without a file system has no mount that would show it in use.
	refused(t, p.DeleteVolume(ctx, "v"), thinpool.ErrVolumeInUse)
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the device goes", func() bool {
		_, err := dm.Info(ctx, uuid)
		return errors.Is(err, devicemapper.ErrNotExist)
	})
	if status := get(p.Status(ctx))(t); status.DeferredRemovals != 0 {
		t.Errorf("%d removals are deferred", status.DeferredRemovals)
	}
	deactivate(t, p, "v")

	// Activated while it is just going, a hundred times.
	for range 100 {
		holder := get(os.Open(activate(t, p, "v")))(t)
		if _, err := dm.Remove(ctx, uuid, devicemapper.RemoveOptions{BusyTimeout: -1, Deferred: true}); err != nil {
			t.Fatal(err)
		}
		closing := make(chan error, 1)
		go func() { closing <- holder.Close() }()
		path := activate(t, p, "v")
		if err := <-closing; err != nil {
			t.Fatal(err)
		}
		device, err := os.Open(path)
		if err != nil {
			t.Fatalf("the path of an activation: %v", err)
		}
		if err := device.Close(); err != nil {
			t.Fatal(err)
		}
	}
	deactivate(t, p, "v")
}
