//go:build kernel

package thinpool_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

const (
	mib = int64(1 << 20)
	gib = int64(1 << 30)
)

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return klog.NewContext(ctx, ktesting.NewLogger(t, ktesting.NewConfig(ktesting.Verbosity(1))))
}

func client(t testing.TB) *devicemapper.Client {
	t.Helper()
	dm, err := devicemapper.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dm.Close(); err != nil {
			t.Error(err)
		}
	})
	return dm
}

func configOn(devices ...string) thinpool.Config {
	return thinpool.Config{
		Name: "test", BlockSize: 64 << 10, MinFreePercent: 10, OverprovisionMilli: 1000, ErrorIfNoSpace: true, DiscardPassdown: true,
		Source: thinpool.Source{Devices: devices},
	}
}

func ext4(name string, size int64) thinpool.VolumeSpec {
	return thinpool.VolumeSpec{Name: name, Size: size, Format: filesystem.Format{Type: filesystem.Ext4}}
}

func xfs(name string, size int64) thinpool.VolumeSpec {
	return thinpool.VolumeSpec{Name: name, Size: size, Format: filesystem.Format{Type: filesystem.XFS}}
}

// open opens a pool and shuts it down at the end of the test. The test may close it before.
func open(t testing.TB, dm *devicemapper.Client, config thinpool.Config) *thinpool.Pool {
	t.Helper()
	p, err := thinpool.Open(testContext(t), dm, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shutdown(t, dm, p, config) })
	return p
}

func shutdown(t testing.TB, dm *devicemapper.Client, p *thinpool.Pool, config thinpool.Config) {
	t.Helper()
	err := p.Shutdown(testContext(t))
	if errors.Is(err, thinpool.ErrPoolClosed) {
		return
	}
	if err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

func must[T any](t testing.TB) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// mounted mounts a device, runs do below it and unmounts.
func mounted(t testing.TB, device string, fsType filesystem.Type, do func(directory string)) {
	t.Helper()
	directory, err := os.MkdirTemp(kerneltest.Scratch(t), "mount-")
	if err != nil {
		t.Fatal(err)
	}
	options := map[filesystem.Type]string{filesystem.Ext4: "noinit_itable", filesystem.XFS: "nouuid"}
	if err := unix.Mount(device, directory, string(fsType), 0, options[fsType]); err != nil {
		t.Fatalf("mount %s: %v", fsType, err)
	}
	do(directory)
	if err := unix.Unmount(directory, 0); err != nil {
		t.Fatalf("unmount: %v", err)
	}
	if err := os.Remove(directory); err != nil {
		t.Error(err)
	}
}

func TestVolumeLife(t *testing.T) {
	kerneltest.CheckClean(t)
	for _, spec := range []thinpool.VolumeSpec{ext4("pvc-1", gib), xfs("pvc-1", gib)} {
		t.Run(string(spec.Format.Type), func(t *testing.T) {
			dm := client(t)
			config := configOn(kerneltest.Disk(t, 4*gib))
			p := open(t, dm, config)
			ctx := testContext(t)
			v := must[thinpool.Volume](t)(p.CreateVolume(ctx, spec))
			path := must[string](t)(p.Activate(ctx, v.Name))
			if again := must[string](t)(p.Activate(ctx, v.Name)); again != path {
				t.Errorf("second activation gives %s, the first %s", again, path)
			}
			mounted(t, path, spec.Format.Type, func(directory string) {
				if err := os.WriteFile(filepath.Join(directory, "file"), []byte("content"), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := p.Deactivate(ctx, v.Name); !errors.Is(err, thinpool.ErrVolumeInUse) {
					t.Errorf("deactivating a mounted volume: %v", err)
				}
				if err := p.DeleteVolume(ctx, v.Name); !errors.Is(err, thinpool.ErrVolumeInUse) {
					t.Errorf("deleting a mounted volume: %v", err)
				}
			})
			if err := p.Deactivate(ctx, v.Name); err != nil {
				t.Fatal(err)
			}
			path = must[string](t)(p.Activate(ctx, v.Name))
			mounted(t, path, spec.Format.Type, func(directory string) {
				if content, err := os.ReadFile(filepath.Join(directory, "file")); err != nil || string(content) != "content" {
					t.Errorf("read %q, %v", content, err)
				}
			})
			if err := p.DeleteVolume(ctx, v.Name); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Activate(ctx, v.Name); !errors.Is(err, thinpool.ErrVolumeNotFound) {
				t.Errorf("activating a deleted volume: %v", err)
			}
		})
	}
}
