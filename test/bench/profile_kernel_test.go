//go:build kernel

package bench

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// profile takes the mount apart: what each system call of staging costs, beside mount(2).
func (r *run) profile(t *testing.T) {
	table := newTable("file system", "call", "p10 µs", "p50 µs")
	for _, fsType := range filesystem.Types {
		v := r.floor.prepare(fsType)
		v.snapshot.send(t, r.floor.control.Fd())
		device, err := r.dm.Activate(r.ctx, devicemapper.Name(v.name), "", r.floor.table(v.id))
		must(t, err)
		var order []string
		calls := map[string]sample{}
		time1 := func(name string, call func() error) {
			began := time.Now()
			err := call()
			took := time.Since(began)
			must(t, err)
			if calls[name] == nil {
				order = append(order, name)
			}
			calls[name] = append(calls[name], took)
		}
		directory := r.directories[1]
		options := map[filesystem.Type]string{filesystem.Ext4: "noinit_itable", filesystem.XFS: "nouuid"}[fsType]
		for range r.plan.activations {
			var target, file *os.File
			var context, mounted int
			time1("open of the directory", func() (err error) {
				target, err = os.OpenFile(directory, unix.O_PATH|unix.O_DIRECTORY, 0)
				return err
			})
			time1("statx", func() error { _, err := filesystem.Inspect(target); return err })
			time1("open of the device", func() (err error) { file, err = os.Open(device.Path()); return err })
			time1("read of the superblock", func() error { _, err := filesystem.ReadSuperblock(file); return err })
			time1("close of the device", func() error { return file.Close() })
			time1("fsopen", func() (err error) { context, err = unix.Fsopen(string(fsType), unix.FSOPEN_CLOEXEC); return err })
			time1("fsconfig source", func() error { return unix.FsconfigSetString(context, "source", device.Path()) })
			time1("fsconfig "+options, func() error { return unix.FsconfigSetFlag(context, options) })
			time1("fsconfig create", func() error { return unix.FsconfigCreate(context) })
			time1("fsmount", func() (err error) { mounted, err = unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0); return err })
			time1("move_mount", func() error {
				return unix.MoveMount(mounted, "", int(target.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
			})
			time1("close of the mount", func() error { return unix.Close(mounted) })
			time1("close of the context", func() error { return unix.Close(context) })
			must(t, target.Close())
			must(t, unix.Unmount(directory, 0))
			time1("mount(2) instead of fsopen to close", func() error { return unix.Mount(device.Path(), directory, string(fsType), 0, options) })
			must(t, unix.Unmount(directory, 0))
		}
		for _, name := range order {
			table.row(string(fsType), name, number(float64(calls[name].quantile(0.1).Nanoseconds())/1000), number(float64(calls[name].median().Nanoseconds())/1000))
		}
		r.floor.remove(r.ctx, t, device)
		must(t, r.dm.DeleteThin(r.ctx, r.floor.pool, v.id))
	}
	r.print("What the calls of a mount cost, on one volume that is mounted again and again:\n\n%s", table)
}
