//go:build kernel

package thinpool_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// sources gives a pool of each kind.
func sources() map[string]func(t *testing.T) thinpool.Config {
	return map[string]func(t *testing.T) thinpool.Config{
		"device": func(t *testing.T) thinpool.Config { return configOn(kerneltest.Disk(t, 2*gib)) },
		"4K sectors": func(t *testing.T) thinpool.Config {
			return configOn(kerneltest.Disk(t, 2*gib, kerneltest.BlockSize(4096)))
		},
		"three devices": func(t *testing.T) thinpool.Config {
			return configOn(kerneltest.Disk(t, gib), kerneltest.Disk(t, gib+512*77), kerneltest.Disk(t, 512*mib))
		},
		"1 MiB blocks": func(t *testing.T) thinpool.Config {
			c := configOn(kerneltest.Disk(t, 2*gib))
			c.BlockSize = mib
			return c
		},
		"loopback": func(t *testing.T) thinpool.Config {
			c := configOn()
			path := filepath.Join(kerneltest.Scratch(t), "pool.img")
			c.Source = thinpool.Source{Loopback: &thinpool.Loopback{Path: path, Size: 2 * gib}}
			t.Cleanup(func() {
				if err := os.Remove(path); err != nil {
					t.Error(err)
				}
			})
			return c
		},
	}
}

// TestVolumeLife takes a volume through its life on every kind of pool, over a close, a shutdown and two openings.
func TestVolumeLife(t *testing.T) {
	for name, source := range sources() {
		specs := []thinpool.VolumeSpec{ext4("pvc-1", 512*mib)}
		switch name {
		case "device", "4K sectors":
			specs = append(specs, xfs("pvc-1", 512*mib))
		case "loopback":
			specs = []thinpool.VolumeSpec{xfs("pvc-1", 512*mib)}
		}
		for _, spec := range specs {
			t.Run(name+"/"+string(spec.Format.Type), func(t *testing.T) {
				kerneltest.CheckClean(t)
				ctx, dm, config := testContext(t), client(t), source(t)
				p := open(t, dm, config)
				v := create(t, p, spec)
				if again := create(t, p, spec); again.ThinID != v.ThinID || again.Size != v.Size || v.Size < spec.Size {
					t.Errorf("%+v, and again %+v", v, again)
				}
				path := activate(t, p, v.Name)
				if again := activate(t, p, v.Name); again != path {
					t.Errorf("second activation gives %s, the first %s", again, path)
				}
				directory, unmount := mount(t, path, spec.Format.Type)
				writeFile(t, filepath.Join(directory, "file"), "content")
				refused(t, p.Deactivate(ctx, v.Name), thinpool.ErrVolumeInUse)
				refused(t, p.DeleteVolume(ctx, v.Name), thinpool.ErrVolumeInUse)
				refused(t, p.Shutdown(ctx), thinpool.ErrVolumeInUse)

				// The agent restarts while the volume is mounted.
				closed(t, p)
				_, err := p.CreateVolume(ctx, spec)
				refused(t, err, thinpool.ErrPoolClosed)
				writeFile(t, filepath.Join(directory, "meanwhile"), "content")
				p = open(t, dm, config)
				if found := get(p.Volume(v.Name))(t); found.ThinID != v.ThinID || found.Size != v.Size || found.Format.Type != spec.Format.Type {
					t.Errorf("%+v became %+v", v, found)
				}
				if again := activate(t, p, v.Name); again != path {
					t.Errorf("activation after a restart gives %s, before %s", again, path)
				}
				expectFile(t, filepath.Join(directory, "meanwhile"), "content")
				unmount()
				deactivate(t, p, v.Name)
				deactivate(t, p, v.Name)
				if err := p.Shutdown(ctx); err != nil {
					t.Fatal(err)
				}

				// The node restarts.
				p = open(t, dm, config)
				mounted(t, activate(t, p, v.Name), spec.Format.Type, func(directory string) {
					expectFile(t, filepath.Join(directory, "file"), "content")
					expectFile(t, filepath.Join(directory, "meanwhile"), "content")
				})
				for range 2 {
					if err := p.DeleteVolume(ctx, v.Name); err != nil {
						t.Fatal(err)
					}
				}
				_, err = p.Activate(ctx, v.Name)
				refused(t, err, thinpool.ErrVolumeNotFound, v.Name)
				refused(t, p.Deactivate(ctx, v.Name), thinpool.ErrVolumeNotFound)
				if again := create(t, p, spec); again.ThinID <= v.ThinID {
					t.Errorf("thin id %d was given after %d", again.ThinID, v.ThinID)
				}
			})
		}
	}
}

// TestExactSize: a volume's file system has the volume's size, on the kernel at hand, with every feature that mkfs was told.
func TestExactSize(t *testing.T) {
	kerneltest.CheckClean(t)
	p := open(t, client(t), func() thinpool.Config {
		c := configOn(kerneltest.Disk(t, 4*gib))
		c.OverprovisionMilli = 100_000
		return c
	}())
	specs := []thinpool.VolumeSpec{
		ext4("small", filesystem.MinimumSize(filesystem.Ext4)), ext4("gib", gib), ext4("odd", gib+12345), ext4("large", 2*gib), ext4("large-2", 2*gib),
		xfs("small-x", filesystem.MinimumSize(filesystem.XFS)), xfs("gib-x", gib), xfs("odd-x", gib+12345), xfs("large-x", 2*gib), xfs("large-x-2", 2*gib),
	}
	options := func(spec thinpool.VolumeSpec, words ...string) thinpool.VolumeSpec {
		spec.Name += "-options"
		spec.Format.Options = words
		return spec
	}
	specs = append(specs,
		options(ext4("ext4", gib), "-I", "512", "-J", "size=8", "-O", "project", "-i", "4096", "-m", "5"),
		options(ext4("no-journal", gib), "-O", "^has_journal"),
		options(xfs("xfs", gib), "-d", "agcount=8", "-i", "size=1024", "-m", "bigtime=0,inobtcount=0,reflink=0,rmapbt=1"),
	)
	for _, spec := range specs {
		v := create(t, p, spec)
		path := activate(t, p, v.Name)
		mounted(t, path, spec.Format.Type, func(directory string) {
			device := get(os.Open(path))(t)
			s := get(filesystem.ReadSuperblock(device))(t)
			if err := device.Close(); err != nil {
				t.Error(err)
			}
			if s.Size > v.Size || v.Size-s.Size >= 16*mib || spec.Size%(128*mib) == 0 && s.Size != spec.Size {
				t.Errorf("%s: the file system has %d bytes, the volume %d", v.Name, s.Size, v.Size)
			}
			writeFile(t, filepath.Join(directory, "file"), "content")
		})
		deactivate(t, p, v.Name)
	}
	if status := get(p.Status(testContext(t)))(t); status.Bases != len(specs)-2 || status.Volumes != len(specs) {
		t.Errorf("%d bases and %d volumes for %d specs of which two pairs are alike", status.Bases, status.Volumes, len(specs))
	}
	ctx := testContext(t)
	_, err := p.CreateVolume(ctx, ext4("gib", 2*gib))
	refused(t, err, thinpool.ErrVolumeExists, "1073741824")
	_, err = p.CreateVolume(ctx, xfs("gib", gib))
	refused(t, err, thinpool.ErrVolumeExists, "ext4")
	_, err = p.CreateVolume(ctx, xfs("tiny", 16*mib))
	refused(t, err, thinpool.ErrInvalid, "size")
}

// TestRawVolumeIsEmpty: a volume without a file system reads as zeros, whatever its blocks held before.
func TestRawVolumeIsEmpty(t *testing.T) {
	kerneltest.CheckClean(t)
	p := open(t, client(t), configOn(kerneltest.Disk(t, gib)))
	ctx := testContext(t)
	secret := strings.Repeat("secret", 1<<20)
	for round := range 3 {
		create(t, p, raw("block", 128*mib))
		device := get(os.OpenFile(activate(t, p, "block"), os.O_RDWR, 0))(t)
		content := make([]byte, len(secret))
		if _, err := device.ReadAt(content, mib); err != nil {
			t.Fatal(err)
		}
		if slices.Max(content) != 0 {
			t.Fatalf("round %d: a new volume is not empty", round)
		}
		if _, err := device.WriteAt([]byte(secret), mib); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(device.Sync(), device.Close()); err != nil {
			t.Fatal(err)
		}
		if err := p.DeleteVolume(ctx, "block"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTwoPools: two pools of one name and with volumes of one name live side by side.
func TestTwoPools(t *testing.T) {
	kerneltest.CheckClean(t)
	dm := client(t)
	for i := range 2 {
		p := open(t, dm, configOn(kerneltest.Disk(t, gib)))
		create(t, p, ext4("v", 64*mib))
		content := strings.Repeat("x", i+1)
		directory, unmount := mount(t, activate(t, p, "v"), "ext4")
		writeFile(t, filepath.Join(directory, "file"), content)
		t.Cleanup(func() {
			expectFile(t, filepath.Join(directory, "file"), content)
			unmount()
			deactivate(t, p, "v")
		})
	}
}

// TestOneProcessAtATime: a pool that is open is not opened again.
func TestOneProcessAtATime(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, config := client(t), configOn(kerneltest.Disk(t, gib))
	p := open(t, dm, config)
	_, err := thinpool.Open(testContext(t), dm, config)
	refused(t, err, thinpool.ErrDeviceInUse, "another process")
	create(t, p, raw("still-works", mib))
}

// TestNoMountIsVisible: the registry's file system is mounted nowhere.
func TestNoMountIsVisible(t *testing.T) {
	kerneltest.CheckClean(t)
	before := get(os.ReadFile("/proc/self/mountinfo"))(t)
	p := open(t, client(t), configOn(kerneltest.Disk(t, gib)))
	create(t, p, raw("v", mib))
	if after := get(os.ReadFile("/proc/self/mountinfo"))(t); string(after) != string(before) {
		t.Errorf("mounts before:\n%s\nafter:\n%s", before, after)
	}
}
