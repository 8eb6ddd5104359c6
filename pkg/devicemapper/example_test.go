package devicemapper_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// snapshotOfBase makes a thin pool on two devices, a thin device in it, and a
// snapshot of that, and takes all of it down again.
func snapshotOfBase(ctx context.Context, metadata, data devicemapper.DeviceNumber, size devicemapper.Sectors) (err error) {
	client, err := devicemapper.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if _, err := client.RequireThinPool(ctx); err != nil {
		return err
	}
	activate := func(name devicemapper.Name, target devicemapper.Target) (devicemapper.Device, error) {
		return client.Activate(ctx, name, devicemapper.UUID("EXAMPLE-"+name), devicemapper.Table{{Length: size, Target: target}})
	}
	remove := func(device devicemapper.Device) {
		_, removeErr := client.Remove(context.WithoutCancel(ctx), device, devicemapper.RemoveOptions{Deferred: true})
		err = errors.Join(err, removeErr)
	}

	pool, err := activate("example-pool", devicemapper.ThinPool{
		Metadata: metadata, Data: data, // metadata begins with 4 KiB of zeros: it is formatted
		BlockSectors:   128,
		LowWaterBlocks: 16,
		ErrorIfNoSpace: true,
	})
	if err != nil {
		return err
	}
	defer remove(pool)

	if err := client.CreateThin(ctx, pool, 1); err != nil {
		return err
	}
	base, err := activate("example-base", devicemapper.Thin{Pool: pool.Number, ID: 1})
	if err != nil {
		return err
	}
	defer remove(base)

	// … write a file system to base.Path() …

	// The base is active: it is suspended while its snapshot is made.
	if err := client.Suspend(ctx, base, devicemapper.SuspendOptions{}); err != nil {
		return err
	}
	err = client.CreateSnapshot(ctx, pool, 2, 1)
	if err := errors.Join(err, client.Resume(context.WithoutCancel(ctx), base)); err != nil {
		return err
	}
	// Success of the message does not say that it lasts; the status does.
	status, err := client.ThinPoolStatus(ctx, pool)
	if err != nil {
		return err
	}
	if !status.Healthy() {
		return fmt.Errorf("pool is in mode %s", status.Mode)
	}

	volume, err := activate("example-volume", devicemapper.Thin{Pool: pool.Number, ID: 2})
	if err != nil {
		return err
	}
	defer remove(volume)
	used, err := client.ThinStatus(ctx, volume)
	if err != nil {
		return err
	}
	fmt.Printf("%s is ready, %d bytes of it mapped\n", volume.Name, used.MappedSectors.Bytes())
	return nil
}

func Example() {
	metadata, data := devicemapper.DeviceNumber{Major: 8, Minor: 16}, devicemapper.DeviceNumber{Major: 8, Minor: 32}
	if err := snapshotOfBase(context.Background(), metadata, data, devicemapper.SectorsOf(1<<30)); err != nil {
		log.Fatal(err)
	}
}

// A pool's owner waits for its events, and looks at the status in between.
func ExampleClient_Wait() {
	watch := func(ctx context.Context, client *devicemapper.Client, pool devicemapper.Ref) error {
		info, err := client.Info(ctx, pool)
		if err != nil {
			return err
		}
		for seen := info.EventNumber; ; {
			status, err := client.ThinPoolStatus(ctx, pool)
			if err != nil {
				return err
			}
			fmt.Println(status.Mode, status.FreeData(), "blocks free")
			if seen, err = client.Wait(ctx, pool, seen); err != nil {
				return err
			}
		}
	}
	client, err := devicemapper.Open()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(watch(context.Background(), client, devicemapper.Name("example-pool")))
}
