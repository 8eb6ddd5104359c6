//go:build kernel

package thinpool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// deviceSize is the size of a block device in bytes.
func deviceSize(t testing.TB, path string) int64 {
	t.Helper()
	file := get(os.Open(path))(t)
	defer func() { _ = file.Close() }()
	return int64(get(unix.IoctlGetInt(int(file.Fd()), unix.BLKGETSIZE64))(t))
}

// growMounted grows the file system on a directory to the size of its device and gives the size that it has then.
func growMounted(t testing.TB, directory, device string) int64 {
	t.Helper()
	root := get(os.Open(directory))(t)
	defer func() { _ = root.Close() }()
	if err := filesystem.Grow(root, device); err != nil {
		t.Fatal(err)
	}
	return get(filesystem.ReadUsage(root))(t).TotalBytes
}

// TestGrowVolume grows a volume while it is inactive, while it is mounted and written to, and while it is open as a block
// device; over a restart and a shutdown it keeps its size, its promise and its name.
func TestGrowVolume(t *testing.T) {
	for _, fsType := range filesystem.Types {
		t.Run(string(fsType), func(t *testing.T) {
			kerneltest.CheckClean(t)
			dm, ctx, config := client(t), testContext(t), configOn(kerneltest.Disk(t, 4*gib))
			p := open(t, dm, config)
			spec := thinpool.VolumeSpec{Name: "v", Size: 512 * mib, Format: filesystem.Format{Type: fsType}}
			v := create(t, p, spec)
			promised := get(p.Status(ctx))(t).PromisedBytes
			grow := func(size int64) {
				t.Helper()
				for range 2 {
					if grown := get(p.GrowVolume(ctx, "v", size))(t); grown.Size != size || grown.ThinID != v.ThinID {
						t.Errorf("%+v became %+v", v, grown)
					}
				}
			}
			grow(600 * mib)
			path := activate(t, p, "v")
			if size := deviceSize(t, path); size != 600*mib {
				t.Errorf("the device has %d bytes", size)
			}
			directory, unmount := mount(t, path, fsType)
			stop, stopped := make(chan struct{}), make(chan error, 1)
			go func() { stopped <- writeUntil(stop, filepath.Join(directory, "log")) }()
			for _, size := range []int64{700 * mib, 800 * mib, gib} {
				grow(size)
				if have := deviceSize(t, path); have != size {
					t.Errorf("the device has %d bytes, want %d", have, size)
				}
				if have := growMounted(t, directory, path); have < size-size/10-64*mib || have > size {
					t.Errorf("the file system has %d bytes of %d", have, size)
				}
				if err := p.Checkpoint(ctx, "v"); err != nil {
					t.Error(err)
				}
				// On disk, whatever the log says.
				if superblock := get(filesystem.ReadSuperblock(directReader{path}))(t); superblock.Size < size-16*mib {
					t.Errorf("the superblock on disk says %d bytes of %d", superblock.Size, size)
				}
			}
			close(stop)
			if err := <-stopped; err != nil {
				t.Error(err)
			}
			if status := get(p.Status(ctx))(t); status.PromisedBytes != promised+512*mib {
				t.Errorf("%d bytes are promised, before it were %d", status.PromisedBytes, promised)
			}
			// The name still answers to what it was made with, and to nothing else.
			if again := create(t, p, spec); again.Size != gib {
				t.Errorf("%+v", again)
			}
			spec.Size = 600 * mib
			_, err := p.CreateVolume(ctx, spec)
			refused(t, err, thinpool.ErrVolumeExists)
			_, err = p.GrowVolume(ctx, "v", 512*mib)
			refused(t, err, thinpool.ErrShrink, "1073741824")
			_, err = p.GrowVolume(ctx, "v", 0)
			refused(t, err, thinpool.ErrInvalid, "size")
			_, err = p.GrowVolume(ctx, "missing", gib)
			refused(t, err, thinpool.ErrVolumeNotFound)
			_, err = p.GrowVolume(ctx, "v", 40*gib)
			refused(t, err, thinpool.ErrNoSpace, "can be promised")

			closed(t, p)
			p = open(t, dm, config)
			grow(gib + 100*mib)
			unmount()
			deactivate(t, p, "v")
			if err := p.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
			p = open(t, dm, config)
			if found := get(p.Volume("v"))(t); found.Size != gib+100*mib {
				t.Errorf("%+v", found)
			}
			path = activate(t, p, "v")
			mounted(t, path, fsType, func(directory string) { growMounted(t, directory, path) })
			checkFileSystem(t, fsType, path)
			deactivate(t, p, "v")
			if err := p.DeleteVolume(ctx, "v"); err != nil {
				t.Fatal(err)
			}
			if status := get(p.Status(ctx))(t); status.PromisedBytes != 0 {
				t.Errorf("%d bytes are still promised", status.PromisedBytes)
			}
		})
	}
}

// directReader reads a device past the page cache.
type directReader struct{ path string }

func (d directReader) ReadAt(into []byte, at int64) (int, error) {
	file, err := os.OpenFile(d.path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	aligned, err := unix.Mmap(-1, 0, len(into), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Munmap(aligned) }()
	n, err := file.ReadAt(aligned, at)
	return copy(into, aligned[:n]), err
}

// writeUntil appends lines to a file, each synced, until stop is closed.
func writeUntil(stop <-chan struct{}, path string) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if _, err := fmt.Fprintln(file, i); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
	}
}

// TestGrowLeftUnfinished: a process died after the new size was durable and before the device had it, or with the device held.
// Opening finishes it.
func TestGrowLeftUnfinished(t *testing.T) {
	for _, name := range []string{"resize: size durable", "resize: table loaded", "resize: volume held"} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			kerneltest.CheckClean(t)
			dm, config := client(t), configOn(kerneltest.Disk(t, gib))
			result := runChild(t, childJob{Config: config, Script: "grow", Failpoint: name}, outcome{}, 0)
			if !result.killed {
				t.Fatalf("the child did not come to %q", name)
			}
			p := open(t, dm, config)
			for _, device := range get(dm.List(testContext(t)))(t) {
				if strings.HasSuffix(string(device.Name), "-volume-grows") {
					if size := deviceSize(t, device.Path()); size != 128*mib {
						t.Errorf("after opening the device has %d bytes", size)
					}
					if info := get(dm.Info(testContext(t), device))(t); info.Suspended || info.InactiveTable {
						t.Errorf("%+v", info)
					}
				}
			}
			path := activate(t, p, "grows")
			if size := deviceSize(t, path); size != 128*mib {
				t.Errorf("the device has %d bytes", size)
			}
			mounted(t, path, "ext4", func(directory string) {
				expectFile(t, filepath.Join(directory, "file"), "content")
				growMounted(t, directory, path)
			})
			deactivate(t, p, "grows")
		})
	}
}

// growing is a child that grows a volume with a file on it, while it is active.
func growing(ctx context.Context, p *thinpool.Pool) error {
	if _, err := p.CreateVolume(ctx, ext4("grows", 64*mib)); err != nil {
		return err
	}
	device, err := p.Activate(ctx, "grows")
	if err != nil {
		return err
	}
	directory, err := os.MkdirTemp("", "growing-")
	if err != nil {
		return err
	}
	if err := unix.Mount(device, directory, "ext4", 0, "noinit_itable"); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(directory, "file"))
	if err != nil {
		return err
	}
	_, err = file.WriteString("content")
	if err := errors.Join(err, file.Sync(), file.Close(), unix.Unmount(directory, 0), os.Remove(directory)); err != nil {
		return err
	}
	_, err = p.GrowVolume(ctx, "grows", 128*mib)
	return err
}

// TestSnapshotLeftHeld: a process died with a mounted volume's I/O held back for a snapshot. Opening lets it go on; the snapshot
// is there if the kernel has made it, and whole.
func TestSnapshotLeftHeld(t *testing.T) {
	for name, made := range map[string]bool{"snapshot: source held": false, "snapshot: made, source held": true, "snapshot: source resumed": true} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			kerneltest.CheckClean(t)
			dm, ctx, config := client(t), testContext(t), configOn(kerneltest.Disk(t, gib))
			p := get(thinpool.Open(ctx, dm, config))(t)
			create(t, p, ext4("source", 64*mib))
			directory, unmount := mount(t, activate(t, p, "source"), "ext4")
			writeFile(t, filepath.Join(directory, "file"), "content")
			closed(t, p)
			if result := runChild(t, childJob{Config: config, Script: "snapshot", Failpoint: name}, outcome{}, 0); !result.killed {
				t.Fatalf("the child did not come to %q", name)
			}
			written := make(chan error, 1)
			go func() { written <- os.WriteFile(filepath.Join(directory, "file"), []byte("later"), 0o600) }()
			if name != "snapshot: source resumed" {
				select {
				case err := <-written:
					t.Errorf("writing on a held volume returned %v", err)
				case <-time.After(100 * time.Millisecond):
				}
			}
			p = open(t, dm, config)
			if err := <-written; err != nil {
				t.Error(err)
			}
			if _, err := p.Volume("snapshot"); (err == nil) != made {
				t.Errorf("the snapshot: %v; the kernel had made it: %t", err, made)
			}
			create(t, p, from("snapshot", "source", 0))
			unmount()
			deactivate(t, p, "source")
			mounted(t, activate(t, p, "snapshot"), "ext4", func(directory string) {
				want := "content"
				if !made {
					want = "later"
				}
				expectFile(t, filepath.Join(directory, "file"), want)
			})
			deactivate(t, p, "snapshot")
		})
	}
}

// TestSpaceOfGrown: what a volume takes of the pool that was grown eight times, from a base of 12.5 GiB to 100 GiB, after it was
// mounted and mounted again.
func TestSpaceOfGrown(t *testing.T) {
	const most = 16 * mib
	kerneltest.CheckClean(t)
	p := open(t, client(t), configOn(kerneltest.Disk(t, 400*gib)))
	ctx := testContext(t)
	for _, fsType := range filesystem.Types {
		name := "grown-" + string(fsType)
		create(t, p, thinpool.VolumeSpec{Name: name, Size: 100 * gib / 8, Format: filesystem.Format{Type: fsType}})
		before := get(p.Status(ctx))(t).Data.Used
		get(p.GrowVolume(ctx, name, 100*gib))(t)
		path := activate(t, p, name)
		var total int64
		for round := range 2 {
			mounted(t, path, fsType, func(directory string) {
				total = growMounted(t, directory, path)
				if round == 1 && fsType == filesystem.Ext4 {
					time.Sleep(12 * time.Second) // longer than the delay after which its lazy initialisation would begin
				}
			})
		}
		used := get(p.Status(ctx))(t).Data.Used - before
		t.Logf("%s grown from 12.5 GiB to 100 GiB takes %.1f MiB of the pool", fsType, float64(used)/float64(mib))
		if used <= 0 || used > most {
			t.Errorf("%s: %d bytes, want at most %d", fsType, used, most)
		}
		if total < 97*gib {
			t.Errorf("%s has %d bytes", fsType, total)
		}
		checkFileSystem(t, fsType, path)
		deactivate(t, p, name)
		if err := p.DeleteVolume(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
}

// suspended tells whether a volume's device is suspended.
func suspended(t testing.TB, dm *devicemapper.Client, p *thinpool.Pool, volume string) bool {
	t.Helper()
	status := get(p.Status(testContext(t)))(t)
	return get(dm.Info(testContext(t), devicemapper.Name(strings.TrimSuffix(status.DeviceName, "pool")+"volume-"+volume)))(t).Suspended
}
