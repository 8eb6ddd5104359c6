//go:build kernel

package thinpool_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

func run(t testing.TB, name string, arguments ...string) {
	t.Helper()
	if output, err := exec.Command(name, arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, output)
	}
}

// overwrite puts bytes on a device and gives what was there.
func overwrite(t testing.TB, path string, at int64, content []byte) []byte {
	t.Helper()
	device := get(os.OpenFile(path, os.O_RDWR, 0))(t)
	before := make([]byte, len(content))
	if _, err := device.ReadAt(before, at); err != nil {
		t.Fatal(err)
	}
	if _, err := device.WriteAt(content, at); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(device.Sync(), device.Close()); err != nil {
		t.Fatal(err)
	}
	return before
}

// image is the beginning of a device, which tells whether anything was written to it.
func image(t testing.TB, path string) []byte {
	t.Helper()
	device := get(os.Open(path))(t)
	defer device.Close()
	content := make([]byte, 4*mib)
	if _, err := device.ReadAt(content, 0); err != nil {
		t.Fatal(err)
	}
	return content
}

func isDisk(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() == os.ModeDevice
}

// refuses opens a pool that must be refused, and checks that nothing was written and nothing is left active.
func refuses(t *testing.T, dm *devicemapper.Client, config thinpool.Config, want error, says ...string) {
	t.Helper()
	devices := get(dm.List(testContext(t)))(t)
	var before [][]byte
	for _, device := range append([]string{config.Source.DataDevice, config.Source.MetadataDevice}, config.Source.Devices...) {
		if isDisk(device) {
			before = append(before, image(t, device))
		}
	}
	p, err := thinpool.Open(testContext(t), dm, config)
	if err == nil {
		_ = p.Shutdown(testContext(t))
	}
	refused(t, err, want, append(says, config.Name)...)
	var failure *thinpool.Error
	if err != nil && !errors.As(err, &failure) {
		t.Errorf("%v is no *thinpool.Error", err)
	}
	if after := get(dm.List(testContext(t)))(t); len(after) != len(devices) {
		t.Errorf("kernel devices before: %v, after: %v", devices, after)
	}
	i := 0
	for _, device := range append([]string{config.Source.DataDevice, config.Source.MetadataDevice}, config.Source.Devices...) {
		if isDisk(device) {
			if !bytes.Equal(before[i], image(t, device)) {
				t.Errorf("%s was written to", device)
			}
			i++
		}
	}
}

func TestRefusesSignatures(t *testing.T) {
	kerneltest.CheckClean(t)
	dm := client(t)
	blank, used := kerneltest.Disk(t, gib), kerneltest.Disk(t, gib)
	run(t, "mkfs.ext4", "-q", "-F", "-L", "precious", used)
	config := configOn(blank, used)
	refuses(t, dm, config, thinpool.ErrSignatureFound, used, "ext4", "precious", "source.force: [ext4]")
	config.Source.Force = []string{"xfs"}
	refuses(t, dm, config, thinpool.ErrSignatureFound, "ext4")
	run(t, "mkfs.xfs", "-q", "-f", blank)
	refuses(t, dm, config, thinpool.ErrSignatureFound, "ext4")
	config.Source.Force = []string{"xfs", "ext4"}
	p := open(t, dm, config)
	create(t, p, raw("v", mib))
	// What is forced is a signature, not a pool: another pool's devices stay refused.
	if err := p.Shutdown(testContext(t)); err != nil {
		t.Fatal(err)
	}
	config.Name = "other"
	config.Source.Force = []string{"xfs", "ext4", "csi-dm", "csi-dm thin pool"}
	refuses(t, dm, config, thinpool.ErrForeignPool, blank, `"test"`)
}

func TestRefusesDeviceInUse(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, disk := client(t), kerneltest.Disk(t, gib)
	ctx := testContext(t)
	size := devicemapper.SectorsOf(gib)
	number := devicemapper.DeviceNumberOf(stat(t, disk).Rdev)
	linear := get(dm.Activate(ctx, "in-use", "", devicemapper.Table{{Length: size, Target: devicemapper.Linear{Device: number}}}))(t)
	refuses(t, dm, configOn(disk), thinpool.ErrDeviceInUse, disk)
	if _, err := dm.Remove(ctx, linear, devicemapper.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	open(t, dm, configOn(disk))
}

// TestRefusesChanges opens a pool of three devices in every wrong way, and in the end in the right one: its volume is
// still there.
func TestRefusesChanges(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	a, b, c := kerneltest.Disk(t, gib), kerneltest.Disk(t, gib), kerneltest.Disk(t, 256*mib)
	config := configOn(a, b, c)
	p := open(t, dm, config)
	v := create(t, p, ext4("precious", 64*mib))
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	on := func(devices ...string) thinpool.Config {
		changed := config
		changed.Source.Devices = devices
		return changed
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(b, link); err != nil {
		t.Fatal(err)
	}
	blank := kerneltest.Disk(t, gib)
	refuses(t, dm, on(a, c, b), thinpool.ErrSourceChanged, "place")
	refuses(t, dm, on(b, a, c), thinpool.ErrSourceChanged, b, "place 0")
	refuses(t, dm, on(a, b), thinpool.ErrSourceChanged, "3 devices")
	refuses(t, dm, on(a), thinpool.ErrSourceChanged, "3 devices")
	refuses(t, dm, on(b), thinpool.ErrSourceChanged, b)
	refuses(t, dm, on(a, blank, c), thinpool.ErrSourceChanged, blank, "exchanged")
	refuses(t, dm, on(blank, b, c), thinpool.ErrSourceChanged, blank)
	refuses(t, dm, on(a, b, link), thinpool.ErrInvalid, "source.devices[2]", "source.devices[1]")
	refuses(t, dm, on(a, b, "/dev/nonexistent"), thinpool.ErrDeviceNotFound, "/dev/nonexistent")
	refuses(t, dm, on(a, b, "/dev/null"), thinpool.ErrInvalid, "/dev/null")

	changed := config
	changed.BlockSize = 128 << 10
	refuses(t, dm, changed, thinpool.ErrSourceChanged, "blockSize", "65536")
	changed = config
	changed.Name = "other"
	refuses(t, dm, changed, thinpool.ErrForeignPool, `"test"`)

	// A second pool of the same name: its devices are not this pool's.
	strangers := configOn(kerneltest.Disk(t, gib), kerneltest.Disk(t, gib), kerneltest.Disk(t, gib))
	stranger := open(t, dm, strangers)
	if err := stranger.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	refuses(t, dm, on(a, strangers.Source.Devices[1], c), thinpool.ErrForeignPool, strangers.Source.Devices[1])

	p = open(t, dm, config)
	if found := get(p.Volume("precious"))(t); found.ThinID != v.ThinID {
		t.Errorf("%+v became %+v", v, found)
	}
	// Neither does Reconfigure take what Open refuses.
	refused(t, p.Reconfigure(ctx, on(a, b)), thinpool.ErrSourceChanged, "source")
	changed = config
	changed.BlockSize = 128 << 10
	refused(t, p.Reconfigure(ctx, changed), thinpool.ErrSourceChanged, "blockSize")
}

// TestRefusesSmallerDevice: a device that has shrunk, or a file.
func TestRefusesSmallerDevice(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	path := filepath.Join(kerneltest.Scratch(t), "pool.img")
	config := configOn()
	config.Source = thinpool.Source{Loopback: &thinpool.Loopback{Path: path, Size: 512 * mib}}
	p := open(t, dm, config)
	defer os.Remove(path)
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 400*mib); err != nil {
		t.Fatal(err)
	}
	refuses(t, dm, config, thinpool.ErrSourceChanged, "source.loopback.size")
	config.Source.Loopback.Size = 400 * mib
	refuses(t, dm, config, thinpool.ErrSourceChanged, "less than")
	if err := os.Truncate(path, 512*mib); err != nil {
		t.Fatal(err)
	}
	config.Source.Loopback.Size = 512 * mib
	open(t, dm, config)
}

func TestRefusesTooSmall(t *testing.T) {
	kerneltest.CheckClean(t)
	refuses(t, client(t), configOn(kerneltest.Disk(t, 128*mib)), thinpool.ErrInvalid, "source.devices[0]", "at least")
	_, err := thinpool.Open(testContext(t), client(t), configOn(kerneltest.Disk(t, 64<<10)))
	refused(t, err, thinpool.ErrInvalid, "source.devices[0]", "at least")
}

// TestDamage damages what a pool consists of, piece by piece: what can be read in spite of it opens, the rest is refused
// and nothing is formatted.
func TestDamage(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, disk := client(t), testContext(t), kerneltest.Disk(t, gib)
	config := configOn(disk)
	p := open(t, dm, config)
	v := create(t, p, ext4("precious", 64*mib))
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	const second = mib - 64<<10
	registry, metadata := mib, 65*mib
	newer, version := []byte{thinpool.LabelVersion + 1}, fmt.Sprintf("version %d", thinpool.LabelVersion+1)
	for _, test := range []struct {
		name  string
		at    []int64
		bytes []byte
		want  error // nil: opens
		says  string
	}{
		{"first label", []int64{0}, make([]byte, 4096), nil, ""},
		{"second label", []int64{second}, make([]byte, 4096), nil, ""},
		{"bits of both labels", []int64{100, second + 100}, []byte("xx"), thinpool.ErrPoolDamaged, "label"},
		{"newer labels", []int64{16, second + 16}, newer, thinpool.ErrFormatNewer, version},
		{"one newer label", []int64{second + 16}, newer, thinpool.ErrFormatNewer, version},
		{"zeroed metadata superblock", []int64{metadata}, make([]byte, 4096), thinpool.ErrPoolDamaged, "zeros"},
		{"overwritten metadata superblock", []int64{metadata}, bytes.Repeat([]byte{0x55}, 4096), thinpool.ErrPoolDamaged, "superblock"},
		{"a bit of the metadata superblock", []int64{metadata + 44}, []byte{0xff}, thinpool.ErrPoolDamaged, "checksum"},
		{"zeroed registry superblock", []int64{registry + 1024}, make([]byte, 1024), thinpool.ErrPoolDamaged, "registry"},
	} {
		var before [][]byte
		for _, at := range test.at {
			before = append(before, overwrite(t, disk, at, test.bytes))
		}
		if test.want != nil {
			refuses(t, dm, config, test.want, test.says)
		} else {
			p := open(t, dm, config)
			if _, err := p.Volume("precious"); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			if err := p.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for i, at := range test.at {
			overwrite(t, disk, at, before[i])
		}
		if t.Failed() {
			t.Fatalf("damage to %s", test.name)
		}
	}
	p = open(t, dm, config)
	if found := get(p.Volume("precious"))(t); found.ThinID != v.ThinID {
		t.Errorf("%+v became %+v", v, found)
	}
	mounted(t, activate(t, p, "precious"), "ext4", func(string) {})
	deactivate(t, p, "precious")
}

// TestLostThinDevice: somebody else deleted a thin device and made another one. Both are seen, and neither is touched.
func TestLostThinDevice(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, config := client(t), testContext(t), configOn(kerneltest.Disk(t, gib))
	p, err := thinpool.Open(ctx, dm, config)
	if err != nil {
		t.Fatal(err)
	}
	v, other := create(t, p, raw("lost", mib)), create(t, p, raw("kept", mib))
	status := get(p.Status(ctx))(t)
	closed(t, p)
	pool := devicemapper.Name(status.DeviceName)
	if err := errors.Join(dm.DeleteThin(ctx, pool, devicemapper.ThinID(v.ThinID)), dm.CreateThin(ctx, pool, 1000)); err != nil {
		t.Fatal(err)
	}
	p = get(thinpool.Open(ctx, dm, config))(t)
	if status := get(p.Status(ctx))(t); status.LostVolumes != 1 || status.UnknownThinDevices != 1 || status.Volumes != 2 {
		t.Errorf("%d lost, %d unknown, %d volumes", status.LostVolumes, status.UnknownThinDevices, status.Volumes)
	}
	_, err = p.Activate(ctx, "lost")
	refused(t, err, thinpool.ErrPoolDamaged, "lost")
	_, err = p.CreateVolume(ctx, raw("lost", mib))
	refused(t, err, thinpool.ErrPoolDamaged)
	activate(t, p, "kept")
	deactivate(t, p, "kept")
	if fresh := create(t, p, raw("fresh", mib)); fresh.ThinID <= 1000 || other.ThinID >= 1000 {
		t.Errorf("thin id %d was given beside the unknown 1000", fresh.ThinID)
	}
	if err := errors.Join(p.DeleteVolume(ctx, "lost"), p.DeleteVolume(ctx, "kept"), p.DeleteVolume(ctx, "fresh")); err != nil {
		t.Error(err)
	}
	if ids := thinIDs(t, dm, status.DeviceName); !slices.Equal(ids, []uint32{1000}) {
		t.Errorf("left are %v", ids)
	}
	if err := p.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}
