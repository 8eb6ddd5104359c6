//go:build kernel

package thinpool_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

func configOnSeparate(data, metadata string) thinpool.Config {
	config := configOn()
	config.Source = thinpool.Source{DataDevice: data, MetadataDevice: metadata}
	return config
}

// TestSeparateDevices: the metadata stands on its device and nothing of it on the other, it has all of that device, and the
// pool is found again.
func TestSeparateDevices(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	data, metadata := kerneltest.Disk(t, gib), kerneltest.Disk(t, 201*mib)
	config := configOnSeparate(data, metadata)
	p := open(t, dm, config)
	status := get(p.Status(ctx))(t)
	if status.Metadata.Total != 100*mib {
		t.Errorf("the metadata has %d bytes, the half of its device is %d", status.Metadata.Total, 100*mib)
	}
	if !slices.Equal(status.DataDevices, []string{data}) || status.MetadataDevice != metadata {
		t.Errorf("data is on %q, metadata on %q", status.DataDevices, status.MetadataDevice)
	}
	if status.Data.Total <= 900*mib {
		t.Errorf("the data has %d bytes of a device of %d", status.Data.Total, gib)
	}
	name := devicemapper.Name(status.DeviceName)
	pool := get(dm.Table(ctx, name, devicemapper.TableOptions{}))(t)[0].Target.(devicemapper.ThinPool)
	for _, part := range []struct {
		device devicemapper.DeviceNumber
		on     string
	}{{pool.Data, data}, {pool.Metadata, metadata}} {
		for _, segment := range get(dm.Table(ctx, part.device, devicemapper.TableOptions{}))(t) {
			if on := segment.Target.(devicemapper.Linear).Device; on != devicemapper.DeviceNumberOf(stat(t, part.on).Rdev) {
				t.Errorf("a part of the pool lies on %s, not on %s", on, part.on)
			}
		}
	}
	v := create(t, p, ext4("v", 64*mib))
	mounted(t, activate(t, p, "v"), filesystem.Ext4, func(directory string) { writeFile(t, directory+"/f", "content") })
	deactivate(t, p, "v")
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	p = open(t, dm, config)
	if found := get(p.Volume("v"))(t); found.ThinID != v.ThinID {
		t.Errorf("%+v became %+v", v, found)
	}
	mounted(t, activate(t, p, "v"), filesystem.Ext4, func(directory string) { expectFile(t, directory+"/f", "content") })
	// An agent that restarts adopts what is there.
	closed(t, p)
	p = open(t, dm, config)
	deactivate(t, p, "v")
}

func TestSeparateRefuses(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	data, metadata := kerneltest.Disk(t, gib), kerneltest.Disk(t, 128*mib)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	config := configOnSeparate(data, metadata)
	refuses(t, dm, configOnSeparate(data, kerneltest.Disk(t, 32*mib)), thinpool.ErrInvalid, "source.metadataDevice", "at least")
	refuses(t, dm, configOnSeparate(kerneltest.Disk(t, 64*mib), metadata), thinpool.ErrInvalid, "source.dataDevice", "at least")
	refuses(t, dm, configOnSeparate(data, link), thinpool.ErrInvalid, "source.metadataDevice", "source.dataDevice leads to the same")
	refuses(t, dm, configOnSeparate(data, "/dev/nonexistent"), thinpool.ErrDeviceNotFound, "source.metadataDevice", "/dev/nonexistent")
	refuses(t, dm, configOnSeparate("/dev/null", metadata), thinpool.ErrInvalid, "source.dataDevice", "/dev/null")

	run(t, "mkfs.ext4", "-q", "-F", "-L", "precious", metadata)
	refuses(t, dm, config, thinpool.ErrSignatureFound, "source.metadataDevice", metadata, "precious", "source.force: [ext4]")
	config.Source.Force = []string{"ext4"}
	p := open(t, dm, config)
	v := create(t, p, ext4("precious", 64*mib))
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}

	blank := kerneltest.Disk(t, gib)
	refuses(t, dm, configOnSeparate(metadata, data), thinpool.ErrSourceChanged, "device 1", "source.dataDevice")
	refuses(t, dm, configOnSeparate(data, blank), thinpool.ErrSourceChanged, blank, "exchanged")
	refuses(t, dm, configOnSeparate(blank, metadata), thinpool.ErrSourceChanged, blank)
	refuses(t, dm, configOn(data, metadata), thinpool.ErrSourceChanged, "source.devices", "source.dataDevice")
	refuses(t, dm, configOn(data), thinpool.ErrSourceChanged, "devices")
	refuses(t, dm, configOn(metadata), thinpool.ErrSourceChanged, metadata)

	// A pool of source.devices is none of separate devices either, nor are devices of two pools one.
	other := configOn(kerneltest.Disk(t, gib), kerneltest.Disk(t, gib))
	stranger := open(t, dm, other)
	if err := stranger.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	refuses(t, dm, configOnSeparate(other.Source.Devices[0], other.Source.Devices[1]), thinpool.ErrSourceChanged, "was made with source.devices")
	refuses(t, dm, configOnSeparate(data, other.Source.Devices[1]), thinpool.ErrForeignPool, other.Source.Devices[1])

	p = open(t, dm, config)
	if found := get(p.Volume("precious"))(t); found.ThinID != v.ThinID {
		t.Errorf("%+v became %+v", v, found)
	}
	refused(t, p.Reconfigure(ctx, configOnSeparate(data, blank)), thinpool.ErrSourceChanged, "source")
}

// TestSeparateKilledWhileMaking kills the process at every failpoint of the making of such a pool and opens it again.
func TestSeparateKilledWhileMaking(t *testing.T) {
	for _, name := range thinpool.Failpoints() {
		if !strings.HasPrefix(name, "make:") {
			continue
		}
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			kerneltest.CheckClean(t)
			dm, config := client(t), configOnSeparate(kerneltest.Disk(t, gib), kerneltest.Disk(t, 64*mib))
			result := runChild(t, childJob{Config: config, Script: "life", Failpoint: name}, outcome{}, 0)
			if !result.killed {
				t.Fatalf("the child did not come to %q", name)
			}
			recovered(t, dm, config, result)
		})
	}
}
