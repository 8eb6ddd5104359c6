package thinpool

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

func exampleConfig() Config {
	return Config{Name: "pool", BlockSize: 64 << 10, OverprovisionMilli: 1000, Source: Source{Devices: []string{"/dev/sdb"}}}
}

func TestConfigRefuses(t *testing.T) {
	if err := exampleConfig().validate(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		field  string
		change func(*Config)
	}{
		{"name", func(c *Config) { c.Name = "" }},
		{"name", func(c *Config) { c.Name = "../x" }},
		{"name", func(c *Config) { c.Name = strings.Repeat("a", 41) }},
		{"blockSize", func(c *Config) { c.BlockSize = 0 }},
		{"blockSize", func(c *Config) { c.BlockSize = 100 << 10 }},
		{"blockSize", func(c *Config) { c.BlockSize = 2 << 30 }},
		{"blockSize", func(c *Config) { c.BlockSize = -64 << 10 }},
		{"minFreeSpace", func(c *Config) { c.MinFreePercent = 100 }},
		{"minFreeSpace", func(c *Config) { c.MinFreePercent = -1 }},
		{"overprovision", func(c *Config) { c.OverprovisionMilli = 999 }},
		{"overprovision", func(c *Config) { c.OverprovisionMilli = 100_001 }},
		{"source", func(c *Config) { c.Source = Source{} }},
		{"source", func(c *Config) { c.Source.Loopback = &Loopback{Path: "/f", Size: minimumLoopSize} }},
		{"source.devices[0]", func(c *Config) { c.Source.Devices[0] = "sdb" }},
		{"source.devices[0]", func(c *Config) { c.Source.Devices[0] = "/dev/../etc/x" }},
		{"source.devices[1]", func(c *Config) { c.Source.Devices = []string{"/dev/a", "/dev/a"} }},
		{"source.devices", func(c *Config) { c.Source.Devices = make([]string, 65) }},
		{"source", func(c *Config) { c.Source.DataDevice, c.Source.MetadataDevice = "/dev/a", "/dev/b" }},
		{"source", func(c *Config) { c.Source.ThinPoolDevice = "/dev/a" }},
		{"source.dataDevice", func(c *Config) { c.Source = Source{MetadataDevice: "/dev/b"} }},
		{"source.metadataDevice", func(c *Config) { c.Source = Source{DataDevice: "/dev/a"} }},
		{"source.metadataDevice", func(c *Config) { c.Source = Source{DataDevice: "/dev/a", MetadataDevice: "/dev/a"} }},
		{"source.metadataDevice", func(c *Config) { c.Source = Source{DataDevice: "/dev/a", MetadataDevice: "/dev/../b"} }},
		{"source.dataDevice", func(c *Config) { c.Source = Source{DataDevice: "a", MetadataDevice: "/dev/b"} }},
		{"source.thinPoolDevice", func(c *Config) { c.Source = Source{ThinPoolDevice: "vg/pool"} }},
		{"source.force", func(c *Config) { c.Source = Source{ThinPoolDevice: "/dev/vg/pool", Force: []string{"ext4"}} }},
		{"blockSize", func(c *Config) {
			c.Source, c.BlockSize = Source{ThinPoolDevice: "/dev/vg/pool"}, 100<<10
		}},
		{"source.loopback.path", func(c *Config) { c.Source = Source{Loopback: &Loopback{Path: "f", Size: minimumLoopSize}} }},
		{"source.loopback.size", func(c *Config) { c.Source = Source{Loopback: &Loopback{Path: "/f", Size: minimumLoopSize - 1<<20}} }},
		{"source.loopback.size", func(c *Config) { c.Source = Source{Loopback: &Loopback{Path: "/f", Size: minimumLoopSize + 1}} }},
		{"source.force", func(c *Config) {
			c.Source = Source{Force: []string{"ext4"}, Loopback: &Loopback{Path: "/f", Size: minimumLoopSize}}
		}},
	} {
		c := exampleConfig()
		test.change(&c)
		err := c.validate()
		var field *FieldError
		if !errors.As(err, &field) || field.Field != test.field || field.Allowed == "" || !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: got %v, want a FieldError about %s", c, err, test.field)
		}
	}
}

func TestConfigTakes(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) {
			c.Source = Source{DataDevice: "/dev/a", MetadataDevice: "/dev/b", Force: []string{"ext4"}}
		},
		func(c *Config) { c.Source = Source{ThinPoolDevice: "/dev/mapper/vg-pool"} },
		func(c *Config) { c.Source, c.BlockSize = Source{ThinPoolDevice: "/dev/mapper/vg-pool"}, 0 },
		func(c *Config) { c.Source = Source{Loopback: &Loopback{Path: "/f", Size: minimumLoopSize}} },
	} {
		c := exampleConfig()
		change(&c)
		if err := c.validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestSpecNormalized(t *testing.T) {
	ext4 := filesystem.Format{Type: filesystem.Ext4}
	for _, test := range []struct {
		spec  VolumeSpec
		size  int64
		field string
	}{
		{VolumeSpec{Name: "a", Size: 1 << 30, Format: ext4}, 1 << 30, ""},
		{VolumeSpec{Name: "a", Size: 1<<30 + 1, Format: ext4}, 1<<30 + 64<<10, ""},
		{VolumeSpec{Name: "a", Size: 1}, 64 << 10, ""},
		{VolumeSpec{Name: "a", Size: maximumVolumeSize}, maximumVolumeSize, ""},
		{VolumeSpec{Name: "a", Size: 0, Format: ext4}, 0, "size"},
		{VolumeSpec{Name: "a", Size: -1, Format: ext4}, 0, "size"},
		{VolumeSpec{Name: "a", Size: math.MaxInt64, Format: ext4}, 0, "size"},
		{VolumeSpec{Name: "a", Size: 1 << 20, Format: ext4}, 0, "size"},
		{VolumeSpec{Name: "a", Size: 200 << 20, Format: filesystem.Format{Type: filesystem.XFS}}, 0, "size"},
		{VolumeSpec{Name: "a", Size: 1 << 30, Format: filesystem.Format{Type: "ntfs"}}, 0, "fsType"},
		{VolumeSpec{Name: "a", Size: 1 << 30, Format: filesystem.Format{Type: filesystem.Ext4, Options: []string{"-d", "/etc"}}}, 0, "mkfs-options"},
		{VolumeSpec{Name: "a", Size: 1 << 30, Format: filesystem.Format{Options: []string{"-m", "1"}}}, 0, "mkfs-options"},
		{VolumeSpec{Name: "a/b", Size: 1 << 30, Format: ext4}, 0, "volume name"},
	} {
		got, err := test.spec.normalized(64 << 10)
		var field *FieldError
		switch {
		case test.field == "" && (err != nil || got.Size != test.size):
			t.Errorf("%+v: size %d, %v", test.spec, got.Size, err)
		case test.field != "" && (!errors.As(err, &field) || field.Field != test.field):
			t.Errorf("%+v: %v, want a FieldError about %s", test.spec, err, test.field)
		}
	}
}
