//go:build kernel

package thinpool_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestUdevRuns: with udev and a distribution's rules on the host, volumes are made, mounted, snapshotted, grown, unmounted and
// deleted by several at once. Nothing hangs or finds a device busy, udev has looked at the contents of none of the pool's devices, no
// semaphore is left, and the status says that udev runs.
func TestUdevRuns(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	before := open(t, dm, configOn(kerneltest.Disk(t, gib)))
	if get(before.Status(ctx))(t).UdevRunning {
		t.Error("udev is said to run before it does")
	}
	udev := kerneltest.StartUdev(t)
	semaphores := get(os.ReadFile("/proc/sysvipc/sem"))(t)
	if !get(before.Status(ctx))(t).UdevRunning {
		t.Error("udev is said not to run")
	}
	config := configOn(kerneltest.Disk(t, 2*gib))
	config.Name, config.OverprovisionMilli = "beside-udev", 4000
	p := open(t, dm, config)

	const workers, rounds = 2, 2
	var wait sync.WaitGroup
	failures := make(chan error, workers)
	began := time.Now()
	for worker := range workers {
		wait.Go(func() {
			for round := range rounds {
				if err := lifeBesideUdev(t, p, fmt.Sprintf("v-%d-%d", worker, round)); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	wait.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	t.Logf("%d volumes in %s", workers*rounds, time.Since(began))
	if status := get(p.Status(testContext(t)))(t); status.DeferredRemovals != 0 || status.Volumes != 0 || !status.UdevRunning {
		t.Errorf("%+v", status)
	}

	poolDevice := get(p.Status(testContext(t)))(t).DeviceName
	// What is there now, after udev has dealt with all that happened.
	create(t, p, ext4("kept", 64*mib))
	path := activate(t, p, "kept")
	mounted(t, path, "ext4", func(directory string) { writeFile(t, directory+"/file", "content") })
	udev.Settle()
	for _, directory := range get(filepath.Glob("/sys/block/dm-*"))(t) {
		node := filepath.Base(directory)
		name := strings.TrimSpace(string(get(os.ReadFile(directory + "/dm/name"))(t)))
		properties := udev.Properties(node)
		if properties["ID_FS_TYPE"] != "" || properties["ID_FS_UUID"] != "" || properties["DM_UDEV_DISABLE_DISK_RULES_FLAG"] != "1" || properties["DM_UDEV_DISABLE_OTHER_RULES_FLAG"] != "1" {
			t.Errorf("%s (%s): udev says %v", name, node, properties)
		}
		// Of a device that was there before udev was, the rules do not know that it is device mapper's until it changes.
		if ours := strings.HasPrefix(name, strings.TrimSuffix(poolDevice, "pool")); ours && properties["DM_NAME"] != name {
			t.Errorf("%s (%s): udev has not seen it: %v", name, node, properties)
		}
	}
	deactivate(t, p, "kept")
	if now := get(os.ReadFile("/proc/sysvipc/sem"))(t); string(now) != string(semaphores) {
		t.Errorf("semaphores:\n%s\nbefore:\n%s", now, semaphores)
	}
}

// lifeBesideUdev is a volume's life, with a snapshot.
func lifeBesideUdev(t *testing.T, p *thinpool.Pool, name string) error {
	ctx := testContext(t)
	spec := ext4(name, 64*mib)
	if strings.HasSuffix(name, "1") {
		spec = xfs(name, 320*mib)
	}
	if _, err := p.CreateVolume(ctx, spec); err != nil {
		return err
	}
	path, err := p.Activate(ctx, name)
	if err != nil {
		return err
	}
	mounted(t, path, spec.Format.Type, func(directory string) {
		writeFile(t, directory+"/file", name)
		if _, err := p.CreateVolume(ctx, thinpool.VolumeSpec{Name: name + "-snapshot", Source: name}); err != nil {
			t.Error(err)
		}
		if spec.Format.Type == filesystem.Ext4 {
			if _, err := p.GrowVolume(ctx, name, 96*mib); err != nil {
				t.Error(err)
			}
		}
	})
	// At once: udev may be at it just now.
	for _, name := range []string{name, name + "-snapshot"} {
		if _, err := p.Activate(ctx, name); err != nil {
			return err
		}
		if err := p.Deactivate(ctx, name); err != nil {
			return err
		}
		if err := p.DeleteVolume(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
