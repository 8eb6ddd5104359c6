//go:build kernel

package csi

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/confinedpath"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

const (
	mib = int64(1 << 20)
	gib = int64(1 << 30)

	poolName   = "test"
	xfsRetries = 7
)

// fixture is the service on a real pool, with a directory in kubelet's place.
type fixture struct {
	*Node
	t       *testing.T
	set     *pools.Set
	config  thinpool.Config
	kubelet string
	dm      *devicemapper.Client
	// changed are the pools of which the service said that they hold other inline volumes.
	changed []string
	// released is what the service said was released.
	released []string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixtureOn(t, 2*gib)
}

// newFixtureOn makes the pool on a disk of the given size.
func newFixtureOn(t *testing.T, size int64) *fixture {
	t.Helper()
	kerneltest.CheckClean(t)
	return newFixtureWith(t, openDM(t), kerneltest.Disk(t, size))
}

func openDM(t *testing.T) *devicemapper.Client {
	t.Helper()
	dm, err := devicemapper.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dm.Close() })
	return dm
}

// newFixtureWith makes the pool on a disk.
func newFixtureWith(t *testing.T, dm *devicemapper.Client, disk string) *fixture {
	t.Helper()
	kubelet, err := os.MkdirTemp(kerneltest.Scratch(t), "kubelet-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(kubelet); err != nil {
			t.Error(err)
		}
	})
	f := &fixture{t: t, kubelet: kubelet, dm: dm, config: thinpool.Config{
		Name: poolName, BlockSize: 64 << 10, MinFreePercent: 0, OverprovisionMilli: 100_000, ErrorIfNoSpace: true, DiscardPassdown: true,
		Source: thinpool.Source{Devices: []string{disk}},
	}}
	f.start()
	t.Cleanup(func() {
		if err := f.set.Shutdown(f.context(), poolName); err != nil {
			t.Errorf("shut the pool down: %v", err)
		}
	})
	return f
}

func (f *fixture) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	f.t.Cleanup(cancel)
	return ctx
}

// start makes the service as a new process does.
func (f *fixture) start() {
	f.t.Helper()
	f.set = pools.NewSet(func(ctx context.Context, config thinpool.Config) (pools.Pool, error) {
		pool, err := thinpool.Open(ctx, f.dm, config)
		if err != nil {
			return nil, err
		}
		return pool, nil
	})
	if _, _, err := f.set.Open(f.context(), f.config); err != nil {
		f.t.Fatal(err)
	}
	root, err := confinedpath.OpenRoot(f.kubelet)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = root.Close() })
	f.Node, err = New(context.Background(), Config{
		NodeName: "node-1", XFSNoSpaceRetries: xfsRetries, Pools: f.set, Kubelet: root,
		Released:        func(volume string) { f.released = append(f.released, volume) },
		InlineSizeLimit: inlineLimit, InlineChanged: func(pool string) { f.changed = append(f.changed, pool) },
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// restart is a new process in the old one's place.
func (f *fixture) restart() {
	f.t.Helper()
	if err := f.set.Close(); err != nil {
		f.t.Fatal(err)
	}
	f.start()
}

func (f *fixture) pool() pools.Pool {
	f.t.Helper()
	pool, err := f.set.Get(poolName)
	if err != nil {
		f.t.Fatal(err)
	}
	return pool
}

// volume makes a volume of 512 MiB, a block volume if it has no file system, and what kubelet makes for it.
func (f *fixture) volume(name string, fsType filesystem.Type) *volume {
	f.t.Helper()
	return f.volumeOf(512*mib, name, fsType)
}

func (f *fixture) volumeOf(size int64, name string, fsType filesystem.Type) *volume {
	f.t.Helper()
	spec := thinpool.VolumeSpec{Name: name, Size: size, Format: filesystem.Format{Type: fsType}}
	if _, err := f.pool().CreateVolume(f.context(), spec); err != nil {
		f.t.Fatal(err)
	}
	return f.known(name, fsType)
}

// known is a volume that is in the pool, with what kubelet makes for it.
func (f *fixture) known(name string, fsType filesystem.Type) *volume {
	f.t.Helper()
	v := &volume{fixture: f, id: name, fsType: string(fsType)}
	v.staging = filepath.Join(f.kubelet, "plugins/kubernetes.io/csi/csi-dm.io", name, "globalmount")
	for _, directory := range []string{v.staging, filepath.Dir(v.target("pod-1")), filepath.Dir(v.target("pod-2"))} {
		if err := os.MkdirAll(directory, 0o750); err != nil {
			f.t.Fatal(err)
		}
	}
	return v
}

// volume is a volume with the requests that kubelet sends for it.
type volume struct {
	*fixture
	id, fsType, staging string
}

func (v *volume) target(pod string) string {
	if v.fsType == "" {
		return filepath.Join(v.kubelet, "plugins/kubernetes.io/csi/volumeDevices/publish", v.id, pod)
	}
	return filepath.Join(v.kubelet, "pods", pod, "volumes/kubernetes.io~csi", v.id, "mount")
}

func (v *volume) capability(options ...string) *csi.VolumeCapability {
	if v.fsType == "" {
		return &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER},
		}
	}
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: v.fsType, MountFlags: options}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER},
	}
}

func (v *volume) stageRequest(options ...string) *csi.NodeStageVolumeRequest {
	return &csi.NodeStageVolumeRequest{
		VolumeId: v.id, StagingTargetPath: v.staging, VolumeCapability: v.capability(options...),
		VolumeContext: map[string]string{v1alpha1.ParameterPool: poolName},
	}
}

func (v *volume) publishRequest(pod string) *csi.NodePublishVolumeRequest {
	return &csi.NodePublishVolumeRequest{
		VolumeId: v.id, StagingTargetPath: v.staging, TargetPath: v.target(pod), VolumeCapability: v.capability(),
		VolumeContext: map[string]string{v1alpha1.ParameterPool: poolName},
	}
}

func (v *volume) stage(options ...string) error {
	_, err := v.NodeStageVolume(v.context(), v.stageRequest(options...))
	return err
}

func (v *volume) publish(pod string, change ...func(*csi.NodePublishVolumeRequest)) error {
	request := v.publishRequest(pod)
	for _, f := range change {
		f(request)
	}
	_, err := v.NodePublishVolume(v.context(), request)
	return err
}

func (v *volume) unpublish(pod string) error {
	_, err := v.NodeUnpublishVolume(v.context(), &csi.NodeUnpublishVolumeRequest{VolumeId: v.id, TargetPath: v.target(pod)})
	return err
}

func (v *volume) unstage() error {
	_, err := v.NodeUnstageVolume(v.context(), &csi.NodeUnstageVolumeRequest{VolumeId: v.id, StagingTargetPath: v.staging})
	return err
}

// device activates the volume behind the service's back.
func (v *volume) device() string {
	v.t.Helper()
	device, err := v.pool().Activate(v.context(), v.id)
	if err != nil {
		v.t.Fatal(err)
	}
	return device
}

func (v *volume) deactivate() {
	v.t.Helper()
	if err := v.pool().Deactivate(v.context(), v.id); err != nil {
		v.t.Fatal(err)
	}
}

// active tells whether the volume has a block device, by the kernel's own list.
func (v *volume) active() bool {
	v.t.Helper()
	names, err := filepath.Glob("/sys/block/dm-*/dm/name")
	if err != nil {
		v.t.Fatal(err)
	}
	for _, path := range names {
		if name, _ := os.ReadFile(path); strings.Contains(string(name), v.id) {
			return true
		}
	}
	return false
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused sees that err has the code and that its message holds the words.
func refused(t *testing.T, err error, code codes.Code, words ...string) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("code is %v, want %v: %v", status.Code(err), code, err)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in: %v", word, err)
		}
	}
}

// mountOptions gives what is mounted at path, as the kernel lists it: device, mount options, file system options.
func mountOptions(t *testing.T, path string) (found int, options, fsOptions string) {
	t.Helper()
	content, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if fields[4] == path {
			found++
			options, fsOptions = fields[5], fields[len(fields)-1]
		}
	}
	return found, options, fsOptions
}

// nothingLeft sees that the service left no mount, no directory and no device of the volume.
func (v *volume) nothingLeft() {
	v.t.Helper()
	for _, path := range []string{v.staging, v.target("pod-1"), v.target("pod-2")} {
		if found, _, _ := mountOptions(v.t, path); found > 0 {
			v.t.Errorf("%d mounts are left on %s", found, path)
		}
	}
	for _, pod := range []string{"pod-1", "pod-2"} {
		if _, err := os.Lstat(v.target(pod)); !os.IsNotExist(err) {
			v.t.Errorf("%s is left: %v", v.target(pod), err)
		}
	}
	if v.active() {
		v.t.Error("the volume's device is left")
	}
}
