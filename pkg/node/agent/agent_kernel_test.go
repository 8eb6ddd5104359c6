//go:build kernel

package agent

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// realHarness has the engine behind the reconcilers. Only the objects are not real: pools and volumes are the kernel's.
func realHarness(t *testing.T, objects ...client.Object) *harness {
	t.Helper()
	dm, err := devicemapper.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dm.Close() })
	h := newHarness(t, objects...)
	h.set = pools.NewSet(func(ctx context.Context, config thinpool.Config) (pools.Pool, error) {
		pool, err := thinpool.Open(ctx, dm, config)
		if err != nil {
			return nil, err
		}
		return pool, nil
	})
	h.pools.pools, h.volumes.pools = h.set, h.set
	return h
}

// restart is a new process that knows the same objects.
func (h *harness) restart() {
	h.t.Helper()
	if err := h.set.Close(); err != nil {
		h.t.Fatal(err)
	}
}

// pass reconciles the pool and the volumes, as the manager does after a change.
func (h *harness) pass(volumes ...string) {
	h.t.Helper()
	if _, err := h.reconcilePool(); err != nil {
		h.t.Fatal(err)
	}
	for _, name := range volumes {
		if _, err := h.reconcileVolume(name); err != nil {
			h.t.Fatal(err)
		}
	}
}

func onDisk(disk string) func(*v1alpha1.NodeThinPool) {
	return func(p *v1alpha1.NodeThinPool) { p.Spec.Source.Devices = []string{disk} }
}

func (h *harness) delete(object client.Object) {
	h.t.Helper()
	if err := h.Delete(context.Background(), object); err != nil {
		h.t.Fatal(err)
	}
}

// kernelDevices counts device mapper's devices.
func kernelDevices(t *testing.T) int {
	t.Helper()
	devices, err := filepath.Glob("/sys/block/dm-*")
	if err != nil {
		t.Fatal(err)
	}
	return len(devices)
}

// TestObjectsToDevicesAndBack takes a pool and two volumes from objects to the kernel and back, over a restart, for each
// kind of source.
func TestObjectsToDevicesAndBack(t *testing.T) {
	for name, source := range map[string]func(t *testing.T) v1alpha1.PoolSource{
		"devices": func(t *testing.T) v1alpha1.PoolSource {
			return v1alpha1.PoolSource{Devices: []string{kerneltest.Disk(t, 2<<30)}}
		},
		"separate devices": func(t *testing.T) v1alpha1.PoolSource {
			return v1alpha1.PoolSource{DataDevice: kerneltest.Disk(t, 2<<30), MetadataDevice: kerneltest.Disk(t, 128<<20)}
		},
		"handed over": func(t *testing.T) v1alpha1.PoolSource { return v1alpha1.PoolSource{ThinPoolDevice: somebodysPool(t)} },
		"loopback": func(t *testing.T) v1alpha1.PoolSource {
			t.Cleanup(func() { _ = os.Remove(filepath.Join(kerneltest.Scratch(t), "fast.img")) })
			return v1alpha1.PoolSource{Loopback: &v1alpha1.LoopbackSource{Size: "2Gi"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			kerneltest.CheckClean(t)
			made := source(t)
			objectsToDevicesAndBack(t, func(p *v1alpha1.NodeThinPool) { p.Spec.Source = made })
		})
	}
}

// somebodysPool makes a thin pool outside of csi-dm and gives its path.
func somebodysPool(t *testing.T) string {
	t.Helper()
	ctx := context.Background()
	dm, err := devicemapper.Open()
	if err != nil {
		t.Fatal(err)
	}
	number := func(path string) devicemapper.DeviceNumber {
		description, err := blockdevice.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return devicemapper.DeviceNumber(description.Number)
	}
	target := devicemapper.ThinPool{Metadata: number(kerneltest.Disk(t, 32<<20)), Data: number(kerneltest.Disk(t, 2<<30)), BlockSectors: devicemapper.MinPoolBlockSectors}
	device, err := dm.Activate(ctx, "somebodys", "", devicemapper.Table{{Length: devicemapper.SectorsOf(2 << 30), Target: target}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := dm.Remove(ctx, device, devicemapper.RemoveOptions{}); err != nil {
			t.Error(err)
		}
		_ = dm.Close()
	})
	return device.Path()
}

func objectsToDevicesAndBack(t *testing.T, source func(*v1alpha1.NodeThinPool)) {
	t.Helper()
	before := kernelDevices(t)
	h := realHarness(t, poolObject(source), volumeObject("v", small("ext4")), volumeObject("w", small("xfs")))
	h.pools.directories.loopback = kerneltest.Scratch(t)
	h.pass("v", "w")
	status := h.cluster.pool(testPool).Status
	if ready := condition(t, status.Conditions, "Ready"); ready.Status != "True" || len(status.PoolID) != 32 || status.Mode != v1alpha1.PoolModeReadWrite ||
		status.Data.Total.Value() < 1<<30 || status.Metadata.Total.Value() == 0 || status.KernelVersions == nil || status.BlockSize.Value() != 64<<10 {
		t.Errorf("status is %+v", status)
	}
	ids := map[int64]bool{}
	for _, name := range []string{"v", "w"} {
		volume := h.volume(name).Status
		if ready := condition(t, volume.Conditions, "Ready"); ready.Status != "True" || volume.ThinID == nil || volume.PoolID != status.PoolID || volume.Size.Value() < 512<<20 {
			t.Fatalf("%s: status is %+v", name, volume)
		}
		ids[*volume.ThinID] = true
	}
	if len(ids) != 2 {
		t.Errorf("thin ids are %v", ids)
	}

	h.restart()
	writes := h.statusWrites
	h.pass("v", "w")
	if h.statusWrites > writes+1 { // the pool's small figures may be due
		t.Errorf("%d writes for a restart that changed nothing", h.statusWrites-writes)
	}

	// One is in use while it is deleted.
	pool, err := h.set.Get("fast")
	if err != nil {
		t.Fatal(err)
	}
	device, err := pool.Activate(context.Background(), "v")
	if err != nil {
		t.Fatal(err)
	}
	mount := filepath.Join(kerneltest.Scratch(t), "mounted")
	if err := errors.Join(os.Mkdir(mount, 0o700), unix.Mount(device, mount, "ext4", 0, "noinit_itable")); err != nil {
		t.Fatal(err)
	}
	h.delete(h.volume("v"))
	h.delete(h.volume("w"))
	h.delete(h.cluster.pool(testPool))
	h.pass("v", "w")
	if h.volume("v") == nil || h.volume("w") != nil || h.cluster.pool(testPool) == nil {
		t.Errorf("v is %v, w is %v", h.volume("v"), h.volume("w"))
	}
	if ready := condition(t, h.volume("v").Status.Conditions, "Ready"); ready.Reason != "VolumeInUse" {
		t.Errorf("ready is %+v", ready)
	}
	if err := errors.Join(unix.Unmount(mount, 0), os.Remove(mount)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.reconcileVolume("v"); err != nil || h.volume("v") != nil {
		t.Errorf("released, but not gone: %v", err)
	}
	h.pass()
	if h.cluster.pool(testPool) != nil {
		t.Error("the pool's object stays")
	}
	if after := kernelDevices(t); after != before {
		t.Errorf("%d devices before, %d now", before, after)
	}
}

func small(fsType string) func(*v1alpha1.ThinVolume) {
	return func(v *v1alpha1.ThinVolume) {
		v.Spec.FSType = fsType
		v.Spec.Capacity.Set(512 << 20)
	}
}

// TestDeviceWithASignature: it is refused and left as it is, until the admin names what may go.
func TestDeviceWithASignature(t *testing.T) {
	kerneltest.CheckClean(t)
	disk := kerneltest.Disk(t, 2<<30)
	if output, err := exec.Command("mkfs.ext4", "-q", "--", disk).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	h := realHarness(t, poolObject(onDisk(disk)))
	if _, err := h.reconcilePool(); !errors.Is(err, thinpool.ErrSignatureFound) {
		t.Fatalf("got %v", err)
	}
	ready := condition(t, h.cluster.pool(testPool).Status.Conditions, "Ready")
	if ready.Reason != "SignatureFound" || !strings.Contains(ready.Message, "ext4") || !strings.Contains(ready.Message, disk) {
		t.Errorf("ready is %+v", ready)
	}
	if output, err := exec.Command("e2fsck", "-fn", "--", disk).CombinedOutput(); err != nil {
		t.Errorf("what was there is damaged: %v: %s", err, output)
	}
	object := h.cluster.pool(testPool)
	object.Spec.Source.Force = []string{"ext4"}
	if err := h.Update(context.Background(), object); err != nil {
		t.Fatal(err)
	}
	h.pass()
	if ready := condition(t, h.cluster.pool(testPool).Status.Conditions, "Ready"); ready.Status != metav1.ConditionTrue {
		t.Errorf("ready is %+v", ready)
	}
	h.delete(h.cluster.pool(testPool))
	h.pass()
}

// TestPoolGrows: a disk that has grown is seen without a change of the object; one that is added is taken in unless it
// carries something, with which the pool goes on as it was.
func TestPoolGrows(t *testing.T) {
	kerneltest.CheckClean(t)
	first, second := kerneltest.Disk(t, 1<<30), kerneltest.Disk(t, 1<<30)
	if output, err := exec.Command("mkfs.ext4", "-q", "--", second).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	h := realHarness(t, poolObject(onDisk(first)), volumeObject("v", nil))
	total := func() int64 { return h.cluster.pool(testPool).Status.Data.Total.Value() }
	grown := func(want string) {
		t.Helper()
		conditions := h.cluster.pool(testPool).Status.Conditions
		if found := condition(t, conditions, "Grown"); string(found.Status)+" "+found.Reason != want {
			t.Errorf("grown is %+v, want %s", found, want)
		}
		for _, kind := range []string{"Ready", "Admitting"} {
			if found := condition(t, conditions, kind); found.Status != metav1.ConditionTrue {
				t.Errorf("%s is %+v", kind, found)
			}
		}
	}
	change := func(do func(source *v1alpha1.PoolSource)) {
		t.Helper()
		object := h.cluster.pool(testPool)
		do(&object.Spec.Source)
		if err := h.Update(context.Background(), object); err != nil {
			t.Fatal(err)
		}
		h.pass()
	}
	h.pass("v")
	grown("True AllTakenIn")
	before := total()
	kerneltest.GrowDisk(t, first, 2<<30)
	h.pass()
	if now := total(); now < before+1000<<20 {
		t.Errorf("%d bytes became %d after the disk grew", before, now)
	}
	before = total()
	change(func(source *v1alpha1.PoolSource) { source.Devices = append(source.Devices, second) })
	grown("False SignatureFound")
	h.restart()
	h.pass()
	grown("False SignatureFound")
	if now := total(); now != before {
		t.Errorf("%d bytes became %d", before, now)
	}
	change(func(source *v1alpha1.PoolSource) { source.Force = []string{"ext4"} })
	grown("True AllTakenIn")
	if now := total(); now < before+1000<<20 {
		t.Errorf("%d bytes became %d after a disk was added", before, now)
	}
	h.restart()
	h.pass("v")
	h.delete(h.volume("v"))
	if _, err := h.reconcileVolume("v"); err != nil {
		t.Error(err)
	}
	h.delete(h.cluster.pool(testPool))
	h.pass()
}

// TestStatusOfUdev: the object's status says whether udev runs on the node.
func TestStatusOfUdev(t *testing.T) {
	kerneltest.CheckClean(t)
	h := realHarness(t, poolObject(onDisk(kerneltest.Disk(t, 1<<30))))
	h.pass()
	if h.cluster.pool(testPool).Status.UdevRunning {
		t.Error("udev is said to run before it does")
	}
	udev := kerneltest.StartUdev(t)
	h.pass()
	if status := h.cluster.pool(testPool).Status; !status.UdevRunning {
		t.Errorf("udev is said not to run: %+v", status)
	}
	h.delete(h.cluster.pool(testPool))
	h.pass()
	udev.Settle()
}

// TestNoRoom: a volume that does not fit is refused with a reason that the controller acts on, and nothing is left of it.
func TestNoRoom(t *testing.T) {
	kerneltest.CheckClean(t)
	h := realHarness(t, poolObject(onDisk(kerneltest.Disk(t, 1<<30))), volumeObject("v", func(v *v1alpha1.ThinVolume) { v.Spec.Capacity.Set(100 << 30) }))
	h.pass("v")
	ready := condition(t, h.volume("v").Status.Conditions, "Ready")
	if ready.Reason != "NoSpace" || h.volume("v").Status.ThinID != nil {
		t.Errorf("status is %+v", h.volume("v").Status)
	}
	h.delete(h.volume("v"))
	if _, err := h.reconcileVolume("v"); err != nil || h.volume("v") != nil {
		t.Errorf("got %v", err)
	}
	h.delete(h.cluster.pool(testPool))
	h.pass()
}

// TestMissingDeviceComes: the pool is opened once its device is there.
func TestMissingDeviceComes(t *testing.T) {
	kerneltest.CheckClean(t)
	link := filepath.Join("/dev", "csi-dm-test-disk")
	h := realHarness(t, poolObject(onDisk(link)))
	if _, err := h.reconcilePool(); !errors.Is(err, thinpool.ErrDeviceNotFound) {
		t.Fatalf("got %v", err)
	}
	if ready := condition(t, h.cluster.pool(testPool).Status.Conditions, "Ready"); ready.Reason != "DeviceNotFound" || !strings.Contains(ready.Message, link) {
		t.Errorf("ready is %+v", ready)
	}
	if err := os.Symlink(kerneltest.Disk(t, 1<<30), link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(link) })
	h.pass()
	if ready := condition(t, h.cluster.pool(testPool).Status.Conditions, "Ready"); ready.Status != metav1.ConditionTrue {
		t.Errorf("ready is %+v", ready)
	}
	h.delete(h.cluster.pool(testPool))
	h.pass()
}
