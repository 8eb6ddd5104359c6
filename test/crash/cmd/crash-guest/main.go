//go:build linux

// Command crash-guest is process 1 of the guest whose power is cut: it opens a pool, judges what is in it, and works on it
// until it is cut. What it does and finds goes out over the machine's first channel as it happens.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/crash/history"
	"github.com/csi-dm/csi-dm/test/crash/inspect"
	"github.com/csi-dm/csi-dm/test/crash/job"
	"github.com/csi-dm/csi-dm/test/crash/load"
	"github.com/csi-dm/csi-dm/test/uml/guest"
)

const (
	// mountDirectory is on a tmpfs of the guest.
	mountDirectory = "/run/crash"
	// openLimit is far above what opening a pool takes, the making of it included.
	openLimit = time.Minute
	// lifeLimit is how long a guest lives that nobody cuts.
	lifeLimit = 10 * time.Minute
)

func main() {
	// Whatever happens the machine is powered off: the end of process 1 would be a kernel panic.
	defer guest.PowerOff()
	channel, err := newChannel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash-guest:", err)
		return
	}
	ctx, cancel := context.WithTimeout(klog.NewContext(context.Background(), klog.Background()), lifeLimit)
	defer cancel()
	if err := run(ctx, channel); err != nil {
		channel.say(job.Message{Failed: err.Error()})
		return
	}
	channel.say(job.Message{Phase: job.Finished})
}

func run(ctx context.Context, channel *channel) error {
	work, err := job.Read(os.Getenv(job.FileVariable))
	if err != nil {
		return err
	}
	if err := prepare(); err != nil {
		return err
	}
	dm, err := devicemapper.Open()
	if err != nil {
		return err
	}
	on := &source{kind: work.Source, disks: work.Disks, dm: dm}
	if err := on.attach(ctx); err != nil { // before the first phase: it is not the driver's work
		return err
	}
	if err := inspectPool(ctx, channel, on, work.History); err != nil || work.Last {
		return err
	}
	if err := on.attach(ctx); err != nil {
		return err
	}
	channel.say(job.Message{Phase: job.Reopening})
	pool, err := openPool(ctx, on)
	if err != nil {
		return err
	}
	channel.say(job.Message{Phase: job.Loading})
	err = load.Load{
		Pool: pool, Directory: mountDirectory, Seed: work.Seed, Round: work.Boot, Workers: 3, Volumes: 3, Tell: channel.tell,
	}.Run(ctx)
	return errors.Join(err, errors.New("the load ended before the power was cut"))
}

func prepare() error {
	if err := guest.Mount(guest.Proc, guest.Sysfs, guest.Run, guest.Tmp); err != nil {
		return err
	}
	if err := guest.LoadModules(job.Modules...); err != nil {
		return err
	}
	if err := guest.WatchStarter(guest.PowerOff); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "DM_DISABLE_UDEV": "1",
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return os.MkdirAll(mountDirectory, 0o700)
}

func openPool(ctx context.Context, on *source) (*thinpool.Pool, error) {
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	return thinpool.Open(ctx, on.dm, on.config())
}

// inspectPool opens the pool, judges it, shuts it down and has its metadata checked.
func inspectPool(ctx context.Context, channel *channel, on *source, known *history.History) error {
	channel.say(job.Message{Phase: job.Opening})
	pool, err := openPool(ctx, on)
	if err != nil {
		return err
	}
	channel.say(job.Message{Phase: job.Inspecting})
	if err := on.hold(); err != nil {
		return err
	}
	inspection := inspect.Inspection{Devices: on.dm, Pool: pool, Directory: mountDirectory, History: known, Tell: channel.tell}
	if on.kind == job.HandedOver {
		inspection.RegistryThins = 1
	}
	result, err := inspection.Run(ctx)
	if err != nil {
		return err
	}
	status, err := pool.Status(ctx)
	if err != nil {
		return err
	}
	_, table, err := inspect.Metadata(ctx, on.dm, devicemapper.Name(status.DeviceName))
	if err != nil {
		return err
	}
	if err := errors.Join(pool.Shutdown(ctx), on.detach(ctx)); err != nil {
		return err
	}
	if err := inspect.CheckMetadata(ctx, on.dm, table); err != nil {
		return err
	}
	channel.say(job.Message{Result: &result})
	return nil
}
