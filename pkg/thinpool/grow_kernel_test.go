//go:build kernel

package thinpool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// loopConfig is a pool on a file that goes at the end of the test.
func loopConfig(t testing.TB, size int64) thinpool.Config {
	t.Helper()
	config := configOn()
	path := filepath.Join(kerneltest.Scratch(t), "pool.img")
	config.Source = thinpool.Source{Loopback: &thinpool.Loopback{Path: path, Size: size}}
	t.Cleanup(func() { _ = os.Remove(path) })
	return config
}

// writer writes files into a mounted volume, each of them with fsync, until it is stopped.
type writer struct {
	directory string
	stop      atomic.Bool
	done      chan struct{}
	files     int
	err       error
}

func startWriter(directory string) *writer {
	w := &writer{directory: directory, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for !w.stop.Load() && w.err == nil {
			w.err = writeSynced(w.path(w.files), w.content(w.files))
			w.files++
		}
	}()
	return w
}

func writeSynced(path string, content []byte) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Sync(), file.Close())
}

// path of a file; there are few of them, so that a long run does not fill the volume.
func (w *writer) path(i int) string { return filepath.Join(w.directory, fmt.Sprint("file-", i%50)) }

func (w *writer) content(i int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("%08d", i)), 16<<10) }

// end stops the writer and checks that it met no error and that every file reads as it was written.
func (w *writer) end(t testing.TB) {
	t.Helper()
	w.stop.Store(true)
	<-w.done
	if w.err != nil {
		t.Errorf("write %d: %v", w.files, w.err)
	}
	w.check(t, w.directory)
}

func (w *writer) check(t testing.TB, directory string) {
	t.Helper()
	for i := max(0, w.files-50); i < w.files; i++ {
		content, err := os.ReadFile(filepath.Join(directory, filepath.Base(w.path(i))))
		if err != nil || !bytes.Equal(content, w.content(i)) {
			t.Errorf("file %d of %d: %d bytes that differ, %v", i, w.files, len(content), err)
		}
	}
}

// growth is a pool's sizes.
type growth struct{ data, metadata, spare int64 }

// sizesOf gives the sizes, after checking that kernel and label agree on them.
func sizesOf(t testing.TB, p *thinpool.Pool) growth {
	t.Helper()
	status := get(p.Status(testContext(t)))(t)
	g := growth{status.Data.Total, status.Metadata.Total, p.AreaSize("spare")}
	if g.data != p.AreaSize("data") || g.metadata != p.AreaSize("metadata") || g.spare != g.metadata {
		t.Errorf("the kernel says %+v, the label data %d, metadata %d", g, p.AreaSize("data"), p.AreaSize("metadata"))
	}
	return g
}

// checkMetadata runs thin_check on the metadata of a pool that is open, through the devices below it: the pool is shut down
// for it and opened again.
func checkMetadata(t testing.TB, dm *devicemapper.Client, p *thinpool.Pool) {
	t.Helper()
	status := get(p.Status(testContext(t)))(t)
	pool := devicemapper.Name(status.DeviceName)
	target := get(dm.Table(testContext(t), pool, devicemapper.TableOptions{}))(t)[0].Target.(devicemapper.ThinPool)
	below := get(dm.Info(testContext(t), devicemapper.Name(status.DeviceName[:len(status.DeviceName)-len("pool")]+"metadata")))(t)
	if below.Number != target.Metadata {
		t.Errorf("metadata is on %s, the pool uses %s", below.Number, target.Metadata)
	}
	table := get(dm.Table(testContext(t), below, devicemapper.TableOptions{}))(t)
	// A loop device would go with the pool.
	first := get(blockdevice.ByNumber(blockdevice.Number(table[0].Target.(devicemapper.Linear).Device)))(t)
	held := get(os.Open(first.Node))(t)
	defer held.Close()
	if err := p.Shutdown(testContext(t)); err != nil {
		t.Fatal(err)
	}
	device := get(dm.Activate(testContext(t), "growth-check", "", table))(t)
	output, err := exec.Command("thin_check", device.Path()).CombinedOutput()
	if _, removeErr := dm.Remove(testContext(t), device, devicemapper.RemoveOptions{BusyTimeout: 5 * time.Second}); err != nil || removeErr != nil {
		t.Errorf("thin_check: %v: %s; %v", err, output, removeErr)
	}
}

// TestGrow grows a pool of each kind by so much that its metadata must grow too, twice, while a volume is written.
func TestGrow(t *testing.T) {
	for name, source := range map[string]func(t *testing.T) (thinpool.Config, func(*thinpool.Config)){
		"loopback": func(t *testing.T) (thinpool.Config, func(*thinpool.Config)) {
			return loopConfig(t, gib), func(c *thinpool.Config) {
				c.Source.Loopback = &thinpool.Loopback{Path: c.Source.Loopback.Path, Size: c.Source.Loopback.Size + 5*gib}
			}
		},
		"a larger device": func(t *testing.T) (thinpool.Config, func(*thinpool.Config)) {
			disk, size := kerneltest.Disk(t, gib), gib
			return configOn(disk), func(*thinpool.Config) {
				size += 5*gib + 512*77
				kerneltest.GrowDisk(t, disk, size)
			}
		},
		"more devices": func(t *testing.T) (thinpool.Config, func(*thinpool.Config)) {
			return configOn(kerneltest.Disk(t, gib)), func(c *thinpool.Config) {
				c.Source.Devices = append(slices.Clone(c.Source.Devices), kerneltest.Disk(t, 4*gib+512), kerneltest.Disk(t, gib))
			}
		},
		"separate metadata": func(t *testing.T) (thinpool.Config, func(*thinpool.Config)) {
			config := configOn()
			data, metadata, size := kerneltest.Disk(t, gib), kerneltest.Disk(t, 128*mib), int64(0)
			config.Source = thinpool.Source{DataDevice: data, MetadataDevice: metadata}
			return config, func(*thinpool.Config) {
				size += 5 * gib
				kerneltest.GrowDisk(t, data, gib+size)
				kerneltest.GrowDisk(t, metadata, 128*mib+size/64)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			kerneltest.CheckClean(t)
			ctx, dm := testContext(t), client(t)
			config, more := source(t)
			p := open(t, dm, config)
			create(t, p, ext4("v", 128*mib))
			directory, unmount := mount(t, activate(t, p, "v"), "ext4")
			w := startWriter(directory)
			before := sizesOf(t, p)
			for round := range 2 {
				more(&config)
				if err := p.Reconfigure(ctx, config); err != nil {
					t.Fatal(err)
				}
				after := sizesOf(t, p)
				if after.data < before.data+4*gib || after.metadata < before.metadata+4*mib {
					t.Errorf("round %d: %+v became %+v", round, before, after)
				}
				if err := p.Reconfigure(ctx, config); err != nil || sizesOf(t, p) != after {
					t.Errorf("a second time: %v, %+v became %+v", err, after, sizesOf(t, p))
				}
				before = after
			}
			// What no volume could have before; its last MiB is new space, or not allocated yet.
			create(t, p, ext4("larger", 6*gib))
			w.end(t)

			// The agent restarts, the node restarts.
			closed(t, p)
			p = open(t, dm, config)
			if after := sizesOf(t, p); after != before {
				t.Errorf("%+v became %+v after a restart", before, after)
			}
			unmount()
			deactivate(t, p, "v")
			checkMetadata(t, dm, p)
			p = open(t, dm, config)
			if after := sizesOf(t, p); after != before {
				t.Errorf("%+v became %+v after a reboot", before, after)
			}
			mounted(t, activate(t, p, "v"), "ext4", func(directory string) { w.check(t, directory) })
			mounted(t, activate(t, p, "larger"), "ext4", func(string) {})
			deactivate(t, p, "v")
			deactivate(t, p, "larger")
			if err := p.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}

			// The same space is taken in when the pool is opened, too.
			more(&config)
			p = open(t, dm, config)
			if after := sizesOf(t, p); after.data < before.data+4*gib {
				t.Errorf("%+v became %+v", before, after)
			}
		})
	}
}

// TestGrowRefused: what cannot be added is refused with the reason, and the pool goes on as it was, over a restart as well.
func TestGrowRefused(t *testing.T) {
	kerneltest.CheckClean(t)
	thinpool.SetGrowthPause(0)
	defer thinpool.SetGrowthPause(time.Minute)
	ctx, dm := testContext(t), client(t)
	a, used, stranger := kerneltest.Disk(t, gib), kerneltest.Disk(t, gib), kerneltest.Disk(t, gib)
	other := open(t, dm, func() thinpool.Config { c := configOn(stranger); c.Name = "other"; return c }())
	run(t, "mkfs.ext4", "-q", "-F", "-L", "precious", used)
	held := kerneltest.Disk(t, gib)
	holder := get(dm.Activate(ctx, "holder", "", devicemapper.Table{{Length: 8, Target: devicemapper.Linear{Device: devicemapper.DeviceNumberOf(stat(t, held).Rdev)}}}))(t)
	config := configOn(a)
	p := open(t, dm, config)
	v := create(t, p, ext4("v", 64*mib))
	before := sizesOf(t, p)
	with := func(devices ...string) thinpool.Config {
		c := config
		c.Source.Devices = append([]string{a}, devices...)
		return c
	}
	for _, test := range []struct {
		device string
		want   error
		says   string
	}{
		{used, thinpool.ErrSignatureFound, "source.force: [ext4]"},
		{stranger, thinpool.ErrForeignPool, `"other"`},
		{held, thinpool.ErrDeviceInUse, held},
		{"/dev/missing", thinpool.ErrDeviceNotFound, "/dev/missing"},
		{"/dev/null", thinpool.ErrInvalid, "source.devices[1]"},
		{kerneltest.Disk(t, 32*mib), thinpool.ErrInvalid, "source.devices[1]"},
	} {
		var image0, image1 []byte
		image0 = image(t, a)
		if test.device != "/dev/null" && test.device != "/dev/missing" {
			image1 = image(t, test.device)
		}
		err := p.Reconfigure(ctx, with(test.device))
		refused(t, err, thinpool.ErrNotGrown, test.says)
		refused(t, err, test.want)
		refused(t, p.Grow(ctx), test.want)
		// Neither does it keep the pool from being opened.
		closed(t, p)
		p = get(thinpool.Open(ctx, dm, with(test.device)))(t)
		if after := sizesOf(t, p); after != before {
			t.Errorf("%s: %+v became %+v", test.device, before, after)
		}
		if !bytes.Equal(image0, image(t, a)) || image1 != nil && !bytes.Equal(image1, image(t, test.device)) {
			t.Errorf("%s: something was written", test.device)
		}
		if t.Failed() {
			t.Fatal(test.device)
		}
	}
	// The pool's own devices cannot go, nor change their places.
	refused(t, p.Reconfigure(ctx, configOn(used, a)), thinpool.ErrSourceChanged, "source")
	// What was in the way is taken away.
	force := with(used)
	force.Source.Force = []string{"ext4"}
	if err := p.Reconfigure(ctx, force); err != nil {
		t.Fatal(err)
	}
	if after := sizesOf(t, p); after.data < before.data+900*mib {
		t.Errorf("%+v became %+v", before, after)
	}
	refused(t, p.Reconfigure(ctx, config), thinpool.ErrSourceChanged, "source")
	closed(t, p)
	refuses(t, dm, config, thinpool.ErrSourceChanged, "2 devices")
	p = open(t, dm, force)
	if found := get(p.Volume("v"))(t); found.ThinID != v.ThinID {
		t.Errorf("%+v became %+v", v, found)
	}
	if _, err := dm.Remove(ctx, holder, devicemapper.RemoveOptions{}); err != nil {
		t.Error(err)
	}
	create(t, other, raw("still-works", mib))
}

// TestGrowLoopRefusesShrink: a file is not made smaller, and one that is smaller than its pool is not made larger again.
func TestGrowLoopRefusesShrink(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx, dm, config := testContext(t), client(t), loopConfig(t, 512*mib)
	p := open(t, dm, config)
	smaller := config
	smaller.Source.Loopback = &thinpool.Loopback{Path: config.Source.Loopback.Path, Size: 400 * mib}
	refused(t, p.Reconfigure(ctx, smaller), thinpool.ErrSourceChanged, "source.loopback.size", "shrink")
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	refuses(t, dm, smaller, thinpool.ErrSourceChanged, "source.loopback.size", "shrink")
	if err := os.Truncate(config.Source.Loopback.Path, 400*mib); err != nil {
		t.Fatal(err)
	}
	larger := config
	larger.Source.Loopback = &thinpool.Loopback{Path: config.Source.Loopback.Path, Size: gib}
	refuses(t, dm, larger, thinpool.ErrSourceChanged, "source.loopback.size", "less than")
	if info := get(os.Stat(config.Source.Loopback.Path))(t); info.Size() != 400*mib {
		t.Errorf("the file has %d bytes", info.Size())
	}
}

// TestGrowFullPool: a writer that waits because the pool is full goes on when the pool has grown.
func TestGrowFullPool(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, config := client(t), loopConfig(t, 256*mib)
	config.ErrorIfNoSpace, config.OverprovisionMilli, config.MinFreePercent = false, 100_000, 0
	p := open(t, dm, config)
	ctx := testContext(t)
	create(t, p, raw("v", 100*mib))
	create(t, p, raw("w", 100*mib))
	written := make(chan error, 2)
	for _, name := range []string{"v", "w"} {
		path := activate(t, p, name)
		go func() {
			device, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT, 0)
			if err != nil {
				written <- err
				return
			}
			defer device.Close()
			block := alignedBlock(mib)
			for at := int64(0); at < 100*mib && err == nil; at += mib {
				_, err = device.WriteAt(block, at)
			}
			written <- err
		}()
	}
	waitFor(t, func() bool {
		status, err := p.Status(ctx)
		return err == nil && status.Mode == thinpool.ModeOutOfDataSpace
	})
	select {
	case err := <-written:
		t.Logf("one writer was through before the pool was full: %v", err)
		written <- err
	default:
	}
	config.Source.Loopback = &thinpool.Loopback{Path: config.Source.Loopback.Path, Size: gib}
	if err := p.Reconfigure(ctx, config); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-written; err != nil {
			t.Errorf("a write to a pool that was full, and has grown: %v", err)
		}
	}
	if status := get(p.Status(ctx))(t); status.Mode != thinpool.ModeReadWrite || status.Data.Used < 200*mib {
		t.Errorf("mode %s, %d bytes used", status.Mode, status.Data.Used)
	}
	deactivate(t, p, "v")
	deactivate(t, p, "w")
}

func alignedBlock(size int64) []byte {
	memory, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		panic(err)
	}
	copy(memory, "content")
	return memory
}

func waitFor(t testing.TB, reached func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for !reached() {
		select {
		case <-ctx.Done():
			t.Fatal("it did not come to that")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestKilledWhileGrowing kills the process at every failpoint of growing, while a volume is mounted, and opens the pool
// again: it has all that was offered, and the volume what was written.
func TestKilledWhileGrowing(t *testing.T) {
	kerneltest.CheckClean(t)
	dm := client(t)
	onDevices := configOn(kerneltest.Disk(t, gib))
	onFile := loopConfig(t, gib)
	grown := map[string]int64{} // sizes of disks that have grown
	for _, name := range thinpool.Failpoints() {
		switch name {
		case "grow: file extended":
			onFile = killedWhileGrowing(t, dm, name, onFile, func(c *thinpool.Config) {
				c.Source.Loopback = &thinpool.Loopback{Path: c.Source.Loopback.Path, Size: c.Source.Loopback.Size + 5*gib}
			})
		case "grow: added devices claimed", "grow: all labels but the first written", "grow: labels written":
			onDevices = killedWhileGrowing(t, dm, name, onDevices, func(c *thinpool.Config) {
				c.Source.Devices = append(slices.Clone(c.Source.Devices), kerneltest.Disk(t, 5*gib))
			})
		case "grow: metadata or data suspended", "grow: metadata device extended", "grow: data device extended", "grow: pool suspended", "grow: pool extended":
			onDevices = killedWhileGrowing(t, dm, name, onDevices, func(c *thinpool.Config) {
				first := c.Source.Devices[0]
				grown[first] = max(grown[first], gib) + 5*gib
				kerneltest.GrowDisk(t, first, grown[first])
			})
		default:
			if len(name) > 5 && name[:5] == "grow:" {
				t.Errorf("nothing visits %q", name)
			}
		}
		if t.Failed() {
			t.Fatalf("killed at %q", name)
		}
	}
}

// killedWhileGrowing has a child grow a pool and die there, whose volume is mounted, and checks what becomes of it.
func killedWhileGrowing(t *testing.T, dm *devicemapper.Client, failpoint string, config thinpool.Config, more func(*thinpool.Config)) thinpool.Config {
	t.Helper()
	p := get(thinpool.Open(testContext(t), dm, config))(t)
	create(t, p, ext4("v", 64*mib))
	before := sizesOf(t, p)
	directory, unmount := mount(t, activate(t, p, "v"), "ext4")
	writeFile(t, filepath.Join(directory, "before"), "content")
	closed(t, p)
	more(&config)
	if result := runChild(t, childJob{Config: config, Failpoint: failpoint}, outcome{}, 0); !result.killed {
		t.Fatalf("the child did not come to %q", failpoint)
	}
	p = get(thinpool.Open(testContext(t), dm, config))(t)
	if after := sizesOf(t, p); after.data < before.data+4*gib || after.metadata < before.metadata+4*mib {
		t.Errorf("%+v became %+v", before, after)
	}
	expectFile(t, filepath.Join(directory, "before"), "content")
	writeFile(t, filepath.Join(directory, "after"), "content")
	unmount()
	checkIDs(t, dm, p)
	deactivate(t, p, "v")
	if err := p.DeleteVolume(testContext(t), "v"); err != nil {
		t.Error(err)
	}
	checkMetadata(t, dm, p)
	return config
}
