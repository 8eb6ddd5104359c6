//go:build kernel

package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// floor is a thin pool that is driven by ioctls and nothing else: the message create_snap, DM_DEV_CREATE, DM_TABLE_LOAD,
// DM_DEV_SUSPEND (which resumes), mount(2). Nobody records anything, reads a status or looks at a superblock.
type floor struct {
	dm      *devicemapper.Client // to make the pool and to clear away, never within the clock
	control *os.File
	disk    string
	pool    devicemapper.Device
	bases   map[filesystem.Type]devicemapper.ThinID
	next    devicemapper.ThinID
}

const floorPrefix = "bench-floor-"

// openFloor makes the pool on a disk as large as the engine's, with the same tables as the engine's.
func openFloor(ctx context.Context, t testing.TB, e *engine, disk string) *floor {
	t.Helper()
	control, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	must(t, err)
	t.Cleanup(func() { control.Close() })
	f := &floor{dm: e.dm, control: control, disk: disk, bases: map[filesystem.Type]devicemapper.ThinID{}}
	status, err := e.pool.Status(ctx)
	must(t, err)
	copyOf := func(part string, replace func(devicemapper.Target) devicemapper.Target) devicemapper.Device {
		name := devicemapper.Name(strings.TrimSuffix(status.DeviceName, "pool") + part)
		table, err := e.dm.Table(ctx, name, devicemapper.TableOptions{})
		must(t, err)
		for i := range table {
			table[i].Target = replace(table[i].Target)
		}
		device, err := e.dm.Activate(ctx, devicemapper.Name(floorPrefix+part), "", table)
		must(t, err)
		t.Cleanup(func() { f.remove(context.WithoutCancel(ctx), t, device) })
		return device
	}
	number := numberOf(t, disk)
	onDisk := func(target devicemapper.Target) devicemapper.Target {
		linear := target.(devicemapper.Linear)
		linear.Device = number
		return linear
	}
	metadata, data := copyOf("metadata", onDisk), copyOf("data", onDisk)
	f.pool = copyOf("pool", func(target devicemapper.Target) devicemapper.Target {
		pool := target.(devicemapper.ThinPool)
		pool.Metadata, pool.Data = metadata.Number, data.Number
		return pool
	})
	for _, fsType := range filesystem.Types {
		f.makeBase(ctx, t, fsType)
	}
	return f
}

func numberOf(t testing.TB, disk string) devicemapper.DeviceNumber {
	var status unix.Stat_t
	must(t, unix.Stat(disk, &status))
	return devicemapper.DeviceNumberOf(status.Rdev)
}

// makeBase formats a thin device as the engine formats its bases.
func (f *floor) makeBase(ctx context.Context, t testing.TB, fsType filesystem.Type) {
	id := f.takeID()
	must(t, f.dm.CreateThin(ctx, f.pool, id))
	device, err := f.dm.Activate(ctx, floorPrefix+"base", "", f.table(id))
	must(t, err)
	must(t, filesystem.Make(ctx, device.Path(), volumeSize, filesystem.Format{Type: fsType}))
	file, err := os.OpenFile(device.Path(), os.O_RDWR, 0)
	must(t, err)
	must(t, errors.Join(file.Sync(), file.Close()))
	f.remove(ctx, t, device)
	f.bases[fsType] = id
}

func (f *floor) takeID() devicemapper.ThinID {
	f.next++
	return f.next - 1
}

func (f *floor) table(id devicemapper.ThinID) devicemapper.Table {
	return devicemapper.Table{{Length: devicemapper.SectorsOf(volumeSize), Target: devicemapper.Thin{Pool: f.pool.Number, ID: id}}}
}

func (f *floor) remove(ctx context.Context, t testing.TB, ref devicemapper.Ref) {
	t.Helper()
	_, err := f.dm.Remove(ctx, ref, devicemapper.RemoveOptions{})
	must(t, err)
}

// fill makes a volume that stays, and activates it if it is wanted.
func (f *floor) fill(ctx context.Context, t testing.TB, number int, fsType filesystem.Type, active bool) {
	id := f.takeID()
	must(t, f.dm.CreateSnapshot(ctx, f.pool, id, f.bases[fsType]))
	if !active {
		return
	}
	device, err := f.dm.Activate(ctx, devicemapper.Name(fmt.Sprintf("%svolume-%d", floorPrefix, number)), "", f.table(id))
	must(t, err)
	t.Cleanup(func() { f.remove(context.WithoutCancel(ctx), t, device) })
}

// request is the memory of one ioctl, laid out.
type request struct {
	command uintptr
	memory  []uint64
}

// floorVolume is a snapshot to be: its requests and where it goes.
type floorVolume struct {
	id                         devicemapper.ThinID
	name                       string
	snapshot, make, load, live request
}

// prepare lays out what up will send.
func (f *floor) prepare(fsType filesystem.Type) *floorVolume {
	v := &floorVolume{id: f.takeID(), name: floorPrefix + "volume"}
	message := binary.NativeEndian.AppendUint64(nil, 0)
	message = append(message, fmt.Sprintf("create_snap %d %d\x00", v.id, f.bases[fsType])...)
	v.snapshot = layOut(unix.DM_TARGET_MSG, string(f.pool.Name), message) //nolint:forbidigo // see layOut
	v.layOut(f)
	return v
}

// layOut lays out the activation.
func (v *floorVolume) layOut(f *floor) {
	//nolint:forbidigo // the floor is the kernel's own cost, so it must not go through the package whose cost is measured
	v.make, v.load, v.live = layOut(unix.DM_DEV_CREATE, v.name, nil), layOut(unix.DM_TABLE_LOAD, v.name, f.thinSpec(v.id)), layOut(unix.DM_DEV_SUSPEND, v.name, nil)
}

// thinSpec is struct dm_target_spec with the parameters of a thin target.
func (f *floor) thinSpec(id devicemapper.ThinID) []byte {
	parameters := fmt.Sprintf("%s %d\x00", f.pool.Number, id)
	size := (unix.SizeofDmTargetSpec + len(parameters) + 7) &^ 7
	target := make([]byte, size)
	length, next, kind, text := 8, 20, 24, unix.SizeofDmTargetSpec // offsets of its fields
	binary.NativeEndian.PutUint64(target[length:], uint64(devicemapper.SectorsOf(volumeSize)))
	binary.NativeEndian.PutUint32(target[next:], uint32(size))
	copy(target[kind:], "thin")
	copy(target[text:], parameters)
	return target
}

// layOut writes struct dm_ioctl and the payload behind it.
func layOut(command uintptr, name string, payload []byte) request {
	header := int(unsafe.Sizeof(unix.DmIoctl{}))
	memory := make([]uint64, (header+max(len(payload), 512)+7)/8)
	h := (*unix.DmIoctl)(unsafe.Pointer(&memory[0]))
	h.Version = [3]uint32{4, 0, 0}
	h.Data_size, h.Data_start = uint32(len(memory)*8), uint32(header)
	copy(h.Name[:], name)
	if len(payload) > 0 {
		h.Target_count = 1
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&memory[0])), len(memory)*8)[header:], payload)
	}
	return request{command: command, memory: memory}
}

func (r request) send(t testing.TB, control uintptr) uint64 {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, control, r.command, uintptr(unsafe.Pointer(&r.memory[0]))); errno != 0 {
		t.Fatalf("ioctl %#x: %v", r.command, errno)
	}
	return (*unix.DmIoctl)(unsafe.Pointer(&r.memory[0])).Dev
}

// up makes a volume and mounts it.
func (f *floor) up(t testing.TB, v *floorVolume, fsType filesystem.Type, directory string) steps {
	control := f.control.Fd()
	began := time.Now()
	v.snapshot.send(t, control)
	created := time.Now()
	number := v.make.send(t, control)
	v.load.send(t, control)
	v.live.send(t, control)
	activated := time.Now()
	device := fmt.Sprintf("/dev/dm-%d", unix.Minor(number))
	options := map[filesystem.Type]string{filesystem.Ext4: "noinit_itable", filesystem.XFS: "nouuid"}[fsType]
	must(t, unix.Mount(device, directory, string(fsType), 0, options))
	mounted := time.Now()
	return steps{create: created.Sub(began), activate: activated.Sub(created), mount: mounted.Sub(activated)}
}

func (f *floor) down(ctx context.Context, t testing.TB, v *floorVolume, directory string) {
	must(t, unix.Unmount(directory, 0))
	f.remove(ctx, t, devicemapper.Name(v.name))
	must(t, f.dm.DeleteThin(ctx, f.pool, v.id))
}
