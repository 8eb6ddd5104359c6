//go:build kernel

package bench

import (
	"context"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// steps is how long one volume took: made, its device there, its file system mounted.
type steps struct {
	create, activate, mount time.Duration
	look                    time.Duration // of mount: at the mount point and the superblock
	io                      diskIO
}

func (s steps) total() time.Duration { return s.create + s.activate + s.mount }

// engine is a pool as the node plugin has it.
type engine struct {
	pool *thinpool.Pool
	dm   *devicemapper.Client
	disk string
}

const poolName = "bench"

func engineConfig(disk string) thinpool.Config {
	return thinpool.Config{
		Name: poolName, BlockSize: 64 << 10, MinFreePercent: 10, OverprovisionMilli: 100_000, DiscardPassdown: true,
		Source: thinpool.Source{Devices: []string{disk}},
	}
}

func openEngine(ctx context.Context, t testing.TB, dm *devicemapper.Client, disk string) *engine {
	t.Helper()
	pool, err := thinpool.Open(ctx, dm, engineConfig(disk))
	must(t, err)
	e := &engine{pool: pool, dm: dm, disk: disk}
	t.Cleanup(func() { e.shutdown(context.WithoutCancel(ctx), t) })
	return e
}

// shutdown removes the devices of all volumes and the pool's.
func (e *engine) shutdown(ctx context.Context, t testing.TB) {
	for _, v := range e.pool.Volumes() {
		must(t, e.pool.Deactivate(ctx, v.Name))
	}
	must(t, e.pool.Shutdown(ctx))
}

func spec(name string, fsType filesystem.Type) thinpool.VolumeSpec {
	return thinpool.VolumeSpec{Name: name, Size: volumeSize, Format: filesystem.Format{Type: fsType}}
}

func (e *engine) make(ctx context.Context, name string, fsType filesystem.Type) error {
	_, err := e.pool.CreateVolume(ctx, spec(name, fsType))
	return err
}

func (e *engine) create(ctx context.Context, t testing.TB, name string, fsType filesystem.Type) {
	must(t, e.make(ctx, name, fsType))
}

func (e *engine) activate(ctx context.Context, t testing.TB, name string) string {
	path, err := e.pool.Activate(ctx, name)
	must(t, err)
	return path
}

// up makes a volume and mounts it. It does to the storage what the node plugin's CreateVolume and NodeStageVolume do: the
// look at the mount point and the superblock, and xfs' limit of retries, belong to it.
func (e *engine) up(ctx context.Context, t testing.TB, name string, fsType filesystem.Type, directory string) steps {
	began := time.Now()
	e.create(ctx, t, name, fsType)
	created := time.Now()
	target, err := os.OpenFile(directory, unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	defer target.Close()
	if point, err := filesystem.Inspect(target); err != nil || point.Mounted {
		t.Fatalf("%s: %+v, %v", directory, point, err)
	}
	inspected := time.Now()
	device := e.activate(ctx, t, name)
	activated := time.Now()
	superblock := readSuperblock(t, device)
	if superblock.Type != fsType || superblock.Errors {
		t.Fatalf("%s: %+v", device, superblock)
	}
	looked := time.Now()
	must(t, filesystem.Mount(device, fsType, filesystem.MountOptions{}, target))
	if fsType == filesystem.XFS {
		must(t, filesystem.SetXFSNoSpaceRetries(device, 0))
	}
	mounted := time.Now()
	look := inspected.Sub(created) + looked.Sub(activated)
	return steps{create: created.Sub(began), activate: activated.Sub(inspected), look: look, mount: look + mounted.Sub(looked)}
}

func (e *engine) down(ctx context.Context, t testing.TB, name, directory string) {
	must(t, unix.Unmount(directory, 0))
	must(t, e.pool.Deactivate(ctx, name))
	must(t, e.pool.DeleteVolume(ctx, name))
}

func readSuperblock(t testing.TB, device string) filesystem.Superblock {
	file, err := os.Open(device)
	must(t, err)
	defer file.Close()
	superblock, err := filesystem.ReadSuperblock(file)
	must(t, err)
	return superblock
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
