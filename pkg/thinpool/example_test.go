package thinpool_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// Makes a pool on a file, a volume in it, and takes both down again. It has no output to compare, since it needs a kernel
// with dm-thin and root: TestExample runs it in a guest.
func Example() {
	if err := tryOut("/var/lib/csi-dm/try-out.img"); err != nil {
		fmt.Println(err)
	}
}

func tryOut(file string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dm, err := devicemapper.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dm.Close()) }()

	pool, err := thinpool.Open(ctx, dm, thinpool.Config{
		Name:               "try-out",
		Source:             thinpool.Source{Loopback: &thinpool.Loopback{Path: file, Size: 1 << 30}},
		BlockSize:          64 << 10,
		MinFreePercent:     10,
		OverprovisionMilli: 1000,
		ErrorIfNoSpace:     true,
		DiscardPassdown:    true,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Shutdown(ctx)) }()

	volume, err := pool.CreateVolume(ctx, thinpool.VolumeSpec{
		Name: "scratch", Size: 256 << 20, Format: filesystem.Format{Type: filesystem.Ext4},
	})
	if err != nil {
		return err
	}
	device, err := pool.Activate(ctx, volume.Name)
	if err != nil {
		return err
	}
	fmt.Printf("%s holds an empty %s of %d MiB\n", device, volume.Format.Type, volume.Size>>20)

	// … mount it, use it, unmount it …

	return pool.DeleteVolume(ctx, volume.Name)
}
