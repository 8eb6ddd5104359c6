//go:build kernel

package filesystem

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestDeviceBoundOnFiles: the node of a device is found on all files that it is bound on, and on no other.
func TestDeviceBoundOnFiles(t *testing.T) {
	kerneltest.CheckClean(t)
	disk, other := kerneltest.Disk(t, 64<<20), kerneltest.Disk(t, 64<<20)
	directory := t.TempDir()
	bind := func(device, name string) string {
		path := filepath.Join(directory, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		source, target := openPlace(t, device), openPlace(t, path)
		if place, err := InspectDevice(target); err != nil || place.Mounted || place.Block {
			t.Errorf("%s before: %+v, %v", name, place, err)
		}
		if err := Bind(source, target, name == "b"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := Unmount(openPlace(t, directory), name); err != nil {
				t.Error(err)
			}
		})
		return path
	}
	a, b := bind(disk, "a"), bind(disk, "b")
	bind(other, "c")
	var status unix.Stat_t
	if err := unix.Stat(disk, &status); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{a, b} {
		place, err := InspectDevice(openPlace(t, path))
		if err != nil || !place.Mounted || !place.Block || place.Major != unix.Major(status.Rdev) || place.Minor != unix.Minor(status.Rdev) {
			t.Errorf("%s: %+v, %v", path, place, err)
		}
	}
	places, err := DevicePlaces(disk)
	slices.Sort(places)
	if err != nil || !slices.Equal(places, []string{a, b}) {
		t.Errorf("places are %q, %v", places, err)
	}
	if _, err := DevicePlaces(a + "-none"); err == nil {
		t.Error("a device that does not exist has places")
	}
}
