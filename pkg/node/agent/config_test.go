package agent

import (
	"reflect"
	"testing"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// TestSources: each kind of source comes to the engine whole, with the block size that belongs to it.
func TestSources(t *testing.T) {
	type api = v1alpha1.PoolSource
	type engine = thinpool.Source
	for _, test := range []struct {
		name      string
		source    api
		blockSize string
		want      engine
		wantBlock int64
	}{
		{"devices", api{Devices: []string{"/dev/a", "/dev/b"}, Force: []string{"ext4"}}, "", engine{Devices: []string{"/dev/a", "/dev/b"}, Force: []string{"ext4"}}, 64 << 10},
		{"separate", api{DataDevice: "/dev/a", MetadataDevice: "/dev/b", Force: []string{"xfs"}}, "1Mi",
			engine{DataDevice: "/dev/a", MetadataDevice: "/dev/b", Force: []string{"xfs"}}, 1 << 20},
		{"handed over", api{ThinPoolDevice: "/dev/vg/pool"}, "", engine{ThinPoolDevice: "/dev/vg/pool"}, 0},
		{"handed over, with a block size", api{ThinPoolDevice: "/dev/vg/pool"}, "128Ki", engine{ThinPoolDevice: "/dev/vg/pool"}, 128 << 10},
		{"loopback", api{Loopback: &v1alpha1.LoopbackSource{}}, "", engine{Loopback: &thinpool.Loopback{Path: "/loop/fast.img", Size: 100 << 30}}, 64 << 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			settings := v1alpha1.PoolSettings{Source: test.source, BlockSize: test.blockSize}
			config, err := directories{loopback: "/loop"}.config("fast", settings)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(config.Source, test.want) || config.BlockSize != test.wantBlock {
				t.Errorf("source %+v, block size %d; want %+v, %d", config.Source, config.BlockSize, test.want, test.wantBlock)
			}
		})
	}
	// Every field of the API's source is in one of the cases above.
	if fields := reflect.TypeFor[api]().NumField(); fields != 6 {
		t.Errorf("the source has %d fields, the cases above know 6", fields)
	}
}
