package thinpool

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// labelled makes a file of 256 MiB with a device's label, or one without.
func labelled(t *testing.T, name string, l *label) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	err = file.Truncate(1 << 30)
	if err == nil && l != nil {
		err = writeLabel(file, *l)
	}
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFind(t *testing.T) {
	l := exampleLabel(t)
	path := labelled(t, "pool", &l)
	found, err := Find(t.Context(), path, labelled(t, "blank", nil))
	if err != nil || len(found) != 1 || found[0].Name != l.PoolName || found[0].PoolID != string(l.PoolID) || found[0].BlockSize != l.BlockSectors.Bytes() || found[0].Needed != len(l.Devices) {
		t.Fatalf("%+v, %v", found, err)
	}
	if device := found[0].Devices[0]; device.Path != path || device.Place != l.Device || device.Size != 1<<30 || device.UsedSize != l.Devices[l.Device].Sectors.Bytes() {
		t.Errorf("%+v", device)
	}
	if _, err := Find(t.Context(), filepath.Join(t.TempDir(), "no-such")); !errors.Is(err, ErrDeviceNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := Find(t.Context(), "/dev/null"); err == nil {
		t.Error("/dev/null is no device for a pool")
	}
}

func TestFoundPool(t *testing.T) {
	at := func(places ...int) FoundPool {
		f := FoundPool{Name: "fast", BlockSize: 64 << 10, Needed: 2}
		for i, place := range places {
			f.Devices = append(f.Devices, FoundDevice{Path: "/dev/" + string(rune('a'+i)), Place: place, Size: 1 << 30})
		}
		return f
	}
	for _, test := range []struct {
		places []int
		want   error
	}{{[]int{0, 1}, nil}, {[]int{0}, ErrDeviceNotFound}, {[]int{1}, ErrDeviceNotFound}, {nil, ErrDeviceNotFound}, {[]int{0, 0, 1}, ErrInvalid}, {[]int{0, 1, 1}, ErrInvalid}} {
		f := at(test.places...)
		config, err := f.Config()
		if !errors.Is(err, test.want) || test.want == nil && (len(config.Source.Devices) != 2 || config.validate() != nil) {
			t.Errorf("%v: %+v, %v", test.places, config, err)
		}
	}
	separate := at(0, 1)
	separate.separate = true
	if config, err := separate.Config(); err != nil || config.Source.DataDevice != "/dev/a" || config.Source.MetadataDevice != "/dev/b" || config.validate() != nil {
		t.Errorf("%+v, %v", config, err)
	}
	loop := at(0)
	loop.Needed, loop.loop = 1, true
	if config, err := loop.Config(); err != nil || config.Source.Loopback == nil || config.Source.Loopback.Size != 1<<30 || config.validate() != nil {
		t.Errorf("%+v, %v", config, err)
	}
}
