//go:build kernel

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// emptied opens the pool after a life and sees that nothing of it is left: no volume in the registry, no thin device that it does
// not know, none that it misses, no block device of one, nothing suspended, no mount, no directory. The pool's metadata is sound.
func emptied(t *testing.T, job killedJob) {
	t.Helper()
	pool, closePool := openKilled(t, job.Config)
	defer closePool()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var status thinpool.Status
	for {
		var err error
		if status, err = pool.Status(ctx); err != nil {
			t.Fatal(err)
		}
		if status.PendingDeletions == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond) // they are made in the background
	}
	if volumes := pool.Volumes(); len(volumes) > 0 {
		t.Errorf("the registry holds %+v", volumes)
	}
	if err := errors.Join(registryFits(status), nothingSuspended()); err != nil {
		t.Error(err)
	}
	if report, err := pool.Check(ctx); err != nil || !report.Sound() {
		t.Errorf("the check ends with %v: %s", err, report)
	}
	names, err := filepath.Glob("/sys/block/dm-*/dm/name")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range names {
		name, _ := os.ReadFile(path)
		if strings.Contains(string(name), "-volume-") || strings.Contains(string(name), "-base-") {
			t.Errorf("device %s is left", name)
		}
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), job.Kubelet) {
		t.Errorf("a mount is left (%v):\n%s", err, mounts)
	}
	for _, target := range []string{job.target(), job.inlineTarget()} {
		if _, err := os.Lstat(target); !os.IsNotExist(err) {
			t.Errorf("the pod's directory %s is left: %v", target, err)
		}
	}
}

// registryFits sees that registry and pool name the same thin devices. It holds after every open, whenever the last process died.
func registryFits(status thinpool.Status) error {
	if status.LostVolumes > 0 || status.UnknownThinDevices > 0 {
		return fmt.Errorf("%d volumes are lost, %d thin devices are unknown", status.LostVolumes, status.UnknownThinDevices)
	}
	return nil
}

// nothingSuspended sees that no device holds I/O back, for which a pod would wait for ever.
func nothingSuspended() error {
	paths, err := filepath.Glob("/sys/block/dm-*/dm/suspended")
	if err != nil {
		return err
	}
	for _, path := range paths {
		if suspended, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(suspended)) != "0" {
			name, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "name"))
			return fmt.Errorf("device %s is suspended", strings.TrimSpace(string(name)))
		}
	}
	return nil
}

// shutDown takes the pool's devices away.
func shutDown(t *testing.T, config thinpool.Config) {
	t.Helper()
	pool, closePool := openKilled(t, config)
	defer closePool()
	if err := pool.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func openKilled(t *testing.T, config thinpool.Config) (*thinpool.Pool, func()) {
	t.Helper()
	dm, err := devicemapper.Open()
	if err != nil {
		t.Fatal(err)
	}
	pool, err := thinpool.Open(t.Context(), dm, config)
	if err != nil {
		t.Fatal(err)
	}
	return pool, func() {
		if err := errors.Join(pool.Close(), dm.Close()); err != nil && !errors.Is(err, thinpool.ErrPoolClosed) {
			t.Error(fmt.Errorf("close: %w", err))
		}
	}
}
