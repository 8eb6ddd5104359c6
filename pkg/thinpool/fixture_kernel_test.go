//go:build kernel

package thinpool_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

const (
	mib = int64(1 << 20)
	gib = int64(1 << 30)
)

// testContext ends with the test. What the engine logs goes to the test's output, in which errors stand out.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return klog.NewContext(ctx, klog.Background())
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

func raw(name string, size int64) thinpool.VolumeSpec {
	return thinpool.VolumeSpec{Name: name, Size: size}
}

// open opens a pool. At the end of the test it is checked and shut down, unless it was closed before.
func open(t testing.TB, dm *devicemapper.Client, config thinpool.Config) *thinpool.Pool {
	t.Helper()
	p, err := thinpool.Open(testContext(t), dm, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, dm, p) })
	return p
}

// finish checks an open pool and shuts it down.
func finish(t testing.TB, dm *devicemapper.Client, p *thinpool.Pool) {
	t.Helper()
	ctx := testContext(t)
	if _, err := p.Status(ctx); errors.Is(err, thinpool.ErrPoolClosed) {
		return
	}
	checkIDs(t, dm, p)
	if err := p.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// closed closes a pool, leaving its kernel devices.
func closed(t testing.TB, p *thinpool.Pool) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// checkIDs compares what the engine believes with what thin_ls of thin-provisioning-tools reads in the pool's metadata.
func checkIDs(t testing.TB, dm *devicemapper.Client, p *thinpool.Pool) {
	t.Helper()
	ctx := testContext(t)
	status := get(p.Status(ctx))(t)
	if status.Mode == thinpool.ModeReadWrite && !status.NeedsCheck {
		drained(t, p)
		status = get(p.Status(ctx))(t)
	}
	var volumes []uint32
	for _, v := range p.Volumes() {
		volumes = append(volumes, v.ThinID)
	}
	ids := thinIDs(t, dm, status.DeviceName)
	for _, id := range volumes {
		if !slices.Contains(ids, id) {
			t.Errorf("the registry knows thin id %d, the pool does not", id)
		}
	}
	if want := len(volumes) + status.Bases + status.PendingDeletions; len(ids) != want {
		t.Errorf("the pool holds the thin ids %v, the registry %v and %d bases, %d deletions are pending", ids, volumes, status.Bases, status.PendingDeletions)
	}
	if status.LostVolumes != 0 || status.UnknownThinDevices != 0 {
		t.Errorf("%d volumes are lost, %d thin devices unknown", status.LostVolumes, status.UnknownThinDevices)
	}
}

// thinIDs lists the thin ids of a pool with thin_ls, all but the registry's own in a pool that was handed over.
func thinIDs(t testing.TB, dm *devicemapper.Client, pool string) []uint32 {
	t.Helper()
	ctx := testContext(t)
	name := devicemapper.Name(pool)
	if err := dm.ReserveMetadataSnapshot(ctx, name); err != nil {
		t.Fatal(err)
	}
	target := get(dm.Table(ctx, name, devicemapper.TableOptions{}))(t)[0].Target.(devicemapper.ThinPool)
	metadata := get(blockdevice.ByNumber(blockdevice.Number(target.Metadata)))(t)
	output, err := exec.Command("thin_ls", "--metadata-snap", "--no-headers", "--format", "DEV", metadata.Node).CombinedOutput()
	if err := errors.Join(err, dm.ReleaseMetadataSnapshot(ctx, name)); err != nil {
		t.Fatalf("thin_ls: %v: %s", err, output)
	}
	var ids []uint32
	lines := bufio.NewScanner(bytes.NewReader(output))
	for lines.Scan() {
		id, err := strconv.ParseUint(strings.TrimSpace(lines.Text()), 10, 32)
		if err != nil {
			t.Fatalf("thin_ls: %s", output)
		}
		if id != uint64(devicemapper.MaxThinID) {
			ids = append(ids, uint32(id))
		}
	}
	return ids
}

// get turns a value and an error into the value, and ends the test on the error.
func get[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func create(t testing.TB, p *thinpool.Pool, spec thinpool.VolumeSpec) thinpool.Volume {
	t.Helper()
	return get(p.CreateVolume(testContext(t), spec))(t)
}

func activate(t testing.TB, p *thinpool.Pool, name string) string {
	t.Helper()
	return get(p.Activate(testContext(t), name))(t)
}

func deactivate(t testing.TB, p *thinpool.Pool, name string) {
	t.Helper()
	if err := p.Deactivate(testContext(t), name); err != nil {
		t.Fatal(err)
	}
}

// mount mounts a device as the driver does and gives the directory and what unmounts it.
func mount(t testing.TB, device string, fsType filesystem.Type) (string, func()) {
	t.Helper()
	directory, err := os.MkdirTemp(kerneltest.Scratch(t), "mount-")
	if err != nil {
		t.Fatal(err)
	}
	options := map[filesystem.Type]string{filesystem.Ext4: "noinit_itable", filesystem.XFS: "nouuid"}
	if err := unix.Mount(device, directory, string(fsType), 0, options[fsType]); err != nil {
		t.Fatalf("mount %s: %v", fsType, err)
	}
	return directory, func() {
		t.Helper()
		if err := errors.Join(unix.Unmount(directory, 0), os.Remove(directory)); err != nil {
			t.Fatal(err)
		}
	}
}

// mounted mounts a volume's device, runs do below it and unmounts.
func mounted(t testing.TB, device string, fsType filesystem.Type, do func(directory string)) {
	t.Helper()
	directory, unmount := mount(t, device, fsType)
	defer unmount()
	do(directory)
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	file := get(os.Create(path))(t)
	if _, err := fmt.Fprint(file, content); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
}

func expectFile(t testing.TB, path, want string) {
	t.Helper()
	if content, err := os.ReadFile(path); err != nil || string(content) != want {
		t.Errorf("%s: %q, %v; want %q", path, content, err, want)
	}
}

// refused checks an error's sentinel and that its text says what a person needs.
func refused(t testing.TB, err, want error, says ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
		return
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

func stat(t testing.TB, path string) unix.Stat_t {
	t.Helper()
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func itoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
