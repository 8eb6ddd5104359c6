//go:build kernel

package devicemapper_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// TestFaultTargets: the kernel takes the tables of flakey and dust as they are written here, prints what is read back as the
// same, and the devices fail as the types say.
func TestFaultTargets(t *testing.T) {
	ctx, c := open(t)
	below := disk(t, 1<<20)
	const length = devicemapper.Sectors(2048)
	block, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON) // aligned for O_DIRECT
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(block) }()
	check := func(path string, what string, write bool, want error) {
		t.Helper()
		file, err := os.OpenFile(path, os.O_RDWR|syscall.O_DIRECT, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if write {
			_, err = file.WriteAt(block, 8192)
		} else {
			_, err = file.ReadAt(block, 8192)
		}
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: write %t gives %v, want %v", what, write, err, want)
		}
	}
	for name, test := range map[string]struct {
		target      devicemapper.Target
		read, write error
	}{
		"errors":        {devicemapper.Flakey{Device: below, Down: 60}, syscall.EIO, syscall.EIO},
		"error writes":  {devicemapper.Flakey{Device: below, Down: 60, ErrorWrites: true}, nil, syscall.EIO},
		"drops writes":  {devicemapper.Flakey{Device: below, Down: 60, DropWrites: true}, nil, nil},
		"well at first": {devicemapper.Flakey{Device: below, Up: 600, Down: 60}, nil, nil},
		"dust":          {devicemapper.Dust{Device: below, BlockBytes: 4096}, nil, nil},
	} {
		table := devicemapper.Table{{Length: length, Target: test.target}}
		device := activate(ctx, t, c, "fault", table)
		if back, err := c.Table(ctx, device, devicemapper.TableOptions{}); err != nil || len(back) != 1 || back[0].Target != test.target {
			t.Errorf("%s: %v, %v; want %v", name, back, err, table)
		}
		check(device.Path(), name, false, test.read)
		check(device.Path(), name, true, test.write)
		if name == "dust" {
			for _, message := range []string{"addbadblock 2", "enable"} {
				if _, err := c.Message(ctx, device, 0, message); err != nil {
					t.Errorf("%s: %v", message, err)
				}
			}
			check(device.Path(), "bad block", false, syscall.EIO)
			check(device.Path(), "bad block", true, nil)
			check(device.Path(), "block written over", false, nil)
		}
		if _, err := c.Remove(ctx, device, devicemapper.RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}
