//go:build kernel

package bench

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

const (
	overheadSize = 100 << 30
	// growth is how many times a grown volume is larger than what it began as.
	growth = 8
)

// overhead watches what formatted volumes that nobody writes to take of a pool, for as long as the run lasts.
type overhead struct {
	r     *run
	pool  *thinpool.Pool
	began time.Time // the last mount
	names []string
	of    map[string]overheadVolume
}

type overheadVolume struct {
	fsType    filesystem.Type
	grown     bool
	directory string
}

// beginOverhead makes volumes of 100 GiB, from a base of their size and grown from one of an eighth of it, mounts them,
// unmounts them and mounts them again.
func (r *run) beginOverhead(t *testing.T) *overhead {
	t.Helper()
	config := thinpool.Config{
		Name: "overhead", BlockSize: poolBlock, OverprovisionMilli: 100_000,
		Source: thinpool.Source{Devices: []string{kerneltest.Disk(t, 2*overheadSize)}},
	}
	pool, err := thinpool.Open(r.ctx, r.dm, config)
	must(t, err)
	t.Cleanup(func() { (&engine{pool: pool}).shutdown(r.ctx, t) })
	o := &overhead{r: r, pool: pool, of: map[string]overheadVolume{}}
	for _, fsType := range filesystem.Types {
		format := filesystem.Format{Type: fsType}
		small := thinpool.VolumeSpec{Name: "small-" + string(fsType), Size: overheadSize / growth, Format: format}
		exact := thinpool.VolumeSpec{Name: "exact-" + string(fsType), Size: overheadSize, Format: format}
		grown := thinpool.VolumeSpec{Name: "grown-" + string(fsType), Size: overheadSize, Source: small.Name}
		for _, wanted := range []thinpool.VolumeSpec{small, exact, grown} {
			_, err := pool.CreateVolume(r.ctx, wanted)
			must(t, err)
		}
		for _, name := range []string{exact.Name, grown.Name} {
			o.of[name] = overheadVolume{fsType: fsType, grown: name == grown.Name, directory: t.TempDir()}
			o.names = append(o.names, name)
			o.mount(t, name)
			must(t, unix.Unmount(o.of[name].directory, 0))
			must(t, pool.Deactivate(r.ctx, name))
			o.mount(t, name)
		}
	}
	t.Cleanup(func() {
		for _, name := range o.names {
			must(t, unix.Unmount(o.of[name].directory, 0))
		}
	})
	o.began = time.Now()
	return o
}

// mount does what staging does: activate, mount, grow the file system where it is smaller than its device.
func (o *overhead) mount(t *testing.T, name string) {
	t.Helper()
	v := o.of[name]
	device, err := o.pool.Activate(o.r.ctx, name)
	must(t, err)
	superblock := readSuperblock(t, device)
	must(t, mountOn(device, v.fsType, v.directory))
	if v.grown && superblock.Size < overheadSize*9/10 {
		directory, err := os.Open(v.directory)
		must(t, err)
		defer directory.Close()
		must(t, filesystem.Grow(directory, device))
	}
	var stat unix.Statfs_t
	must(t, unix.Statfs(v.directory, &stat))
	if size := int64(stat.Blocks) * stat.Bsize; size < overheadSize*8/10 {
		t.Fatalf("%s has a file system of %d bytes", name, size)
	}
}

// end waits until the volumes have been mounted for as long as the plan says, and tells what they take.
func (o *overhead) end(t *testing.T) {
	time.Sleep(time.Until(o.began.Add(o.r.plan.settle)))
	unix.Sync()
	usage, err := o.pool.Usage(o.r.ctx)
	must(t, err)
	waited := time.Since(o.began).Round(time.Second)
	table := newTable("file system", "begun as", "exclusive MiB", "of it in the log", "shared with its base MiB", "mounted for", "remounts")
	for _, name := range o.names {
		v, u := o.of[name], usage.Volumes[name]
		if u.Mapped == 0 {
			t.Fatalf("no usage of %s: %+v", name, usage)
		}
		from, bound := "a base of 100 GiB", 2.0
		if v.grown {
			from, bound = fmt.Sprintf("one of %.1f GiB, grown %d ×", float64(overheadSize)/growth/(1<<30), growth), 16
		}
		exclusive, inLog := float64(u.Exclusive)/(1<<20), ""
		if v.fsType == filesystem.XFS && !v.grown {
			inLog = fmt.Sprintf("%.2f", float64(o.writtenIn(t, name, xfsLog(t, o.device(t, name))))/(1<<20))
		}
		table.row(string(v.fsType), from, fmt.Sprintf("%.2f", exclusive), inLog, fmt.Sprintf("%.2f", float64(u.Shared)/(1<<20)), waited.String(), strconv.Itoa(1))
		r := o.r
		r.verdicts.atMost(fmt.Sprintf("exclusive pool space of a 100 GiB %s from %s, %s after mounting and one remount", v.fsType, from, waited), exclusive, bound, " MiB")
	}
	o.r.print("What a volume of 100 GiB takes of its pool that nobody has written to:\n\n%s", table)
}

// device is the block device of a volume that is active.
func (o *overhead) device(t *testing.T, name string) string {
	t.Helper()
	path, err := o.pool.Activate(o.r.ctx, name)
	must(t, err)
	return path
}

// fillDevice writes the first size bytes of a device and flushes them.
func fillDevice(t testing.TB, path string, size int64) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	defer file.Close()
	_, err = file.Write(make([]byte, size))
	must(t, err)
	must(t, file.Sync())
}
