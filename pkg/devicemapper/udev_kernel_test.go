//go:build kernel

package devicemapper_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestUdevKeepsOff: while udev runs with a distribution's rules, a device with a file system is made, suspended, resumed
// and removed. Udev opens it at no time, learns nothing of what is on it, makes no link to it, and no semaphore is left.
// A device that dmsetup makes shows that udev does all of this with one that does not say otherwise.
func TestUdevKeepsOff(t *testing.T) {
	_, c := open(t)
	// On a busy machine udev takes its time.
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	if devicemapper.UdevRunning() {
		t.Error("udev is said to run before it does")
	}
	below := kerneltest.Disk(t, 16*mebibyte)
	if output, err := exec.Command("mkfs.ext4", "-q", below).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, output)
	}
	udev := kerneltest.StartUdev(t)
	if !devicemapper.UdevRunning() {
		t.Error("udev is said not to run")
	}
	semaphores := semaphoreSets(t)
	opens := watchOpens(t)

	// What udev does with a device of somebody else's.
	number := numberOf(t, below)
	udev.Command("dmsetup", "create", "other", "--table", fmt.Sprintf("0 %d linear %s 0", 16*mebibyte/devicemapper.SectorSize, number))
	udev.Settle()
	other, err := c.Info(ctx, devicemapper.Name("other"))
	if err != nil {
		t.Fatal(err)
	}
	if node := filepath.Base(other.Path()); udev.Properties(node)["ID_FS_TYPE"] != "ext4" || !slices.Contains(opens(), node) || len(links(t, node)) == 0 {
		t.Fatalf("udev runs and has not looked at a device that dmsetup made: %v", udev.Properties(node))
	}
	udev.Command("dmsetup", "remove", "other")
	udev.Settle()

	device := activate(ctx, t, c, "ours", linear(number, 0, devicemapper.SectorsOf(16*mebibyte)))
	node := filepath.Base(device.Path())
	opens()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"made", func(context.Context) error { return nil }},
		{"suspended and resumed", func(ctx context.Context) error {
			if err := c.Suspend(ctx, device, devicemapper.SuspendOptions{}); err != nil {
				return err
			}
			return c.Resume(ctx, device)
		}},
		{"looked at again by an admin", func(context.Context) error {
			udev.Command("udevadm", "trigger", "--action=change", "/sys/class/block/"+node)
			return nil
		}},
	} {
		if err := step.do(ctx); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		udev.Settle()
		properties := udev.Properties(node)
		if properties["DM_NAME"] != "ours" || properties["DM_UDEV_DISABLE_DISK_RULES_FLAG"] != "1" || properties["DM_UDEV_DISABLE_OTHER_RULES_FLAG"] != "1" {
			t.Errorf("%s: udev's rules have not seen the flags: %v", step.name, properties)
		}
		if properties["ID_FS_TYPE"] != "" || slices.Contains(opens(), node) {
			t.Errorf("%s: udev has looked at what is on the device: %v", step.name, properties)
		}
		if found := links(t, node); len(found) > 0 {
			t.Errorf("%s: udev has made %v", step.name, found)
		}
	}
	if deferred, err := c.Remove(ctx, device, devicemapper.RemoveOptions{}); err != nil || deferred {
		t.Errorf("removal: deferred: %t, %v", deferred, err)
	}
	udev.Settle()
	if slices.Contains(opens(), node) {
		t.Error("udev has opened the device while it was removed")
	}
	if now := semaphoreSets(t); !bytes.Equal(now, semaphores) {
		t.Errorf("semaphores:\n%s\nbefore:\n%s", now, semaphores)
	}
}

// watchOpens gives a function that lists the nodes in /dev that anybody has opened since it was called last.
func watchOpens(t *testing.T) func() []string {
	t.Helper()
	descriptor, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(descriptor) })
	if _, err := unix.InotifyAddWatch(descriptor, "/dev", unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	return func() []string {
		var opened []string
		for raw := make([]byte, 64<<10); ; {
			n, err := unix.Read(descriptor, raw)
			if err != nil {
				if err != unix.EAGAIN {
					t.Fatal(err)
				}
				return opened
			}
			for rest := raw[:n]; len(rest) >= unix.SizeofInotifyEvent; {
				if binary.NativeEndian.Uint32(rest[4:])&unix.IN_Q_OVERFLOW != 0 {
					t.Fatal("more was opened than can be told")
				}
				end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(rest[12:]))
				name, _, _ := bytes.Cut(rest[unix.SizeofInotifyEvent:end], []byte{0})
				opened = append(opened, string(name))
				rest = rest[end:]
			}
		}
	}
}

// links are the names below /dev/disk that lead to a node: by label and uuid of what is on it.
func links(t *testing.T, node string) []string {
	t.Helper()
	var found []string
	paths, err := filepath.Glob("/dev/disk/*/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if target, err := os.Readlink(path); err == nil && filepath.Base(target) == node {
			found = append(found, path)
		}
	}
	return found
}

// semaphoreSets is the kernel's list of System V semaphores, on which libdevmapper waits for udev.
func semaphoreSets(t *testing.T) []byte {
	t.Helper()
	list, err := os.ReadFile("/proc/sysvipc/sem")
	if err != nil {
		t.Fatal(err)
	}
	return list
}
