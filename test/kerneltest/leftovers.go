//go:build linux

package kerneltest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// leftovers are things of the kernel that outlive the process that made them, each by a key that tells it from others of
// its kind, with what is needed to take it down.
type leftovers struct {
	devices map[string]string // key to device-mapper name
	loops   map[string]string // key to device name
	mounts  map[string]string // key to mount point
}

// observe reads what there is now.
func observe() (leftovers, error) {
	result := leftovers{devices: map[string]string{}, loops: map[string]string{}, mounts: map[string]string{}}
	if err := each("/sys/block/dm-*/dm", func(_ string, read func(string) string) {
		name := read("name")
		key := fmt.Sprintf("device %s, uuid %q", name, read("uuid"))
		if read("suspended") == "1" {
			key += ", suspended"
		}
		result.devices[key] = name
	}); err != nil {
		return result, err
	}
	if err := each("/sys/block/loop*/loop", func(directory string, read func(string) string) {
		device := "/dev/" + filepath.Base(filepath.Dir(directory))
		result.loops[fmt.Sprintf("loop device %s on %s", device, read("backing_file"))] = device
	}); err != nil {
		return result, err
	}
	mounts, err := mountinfo.GetMounts(nil)
	for _, mount := range mounts {
		result.mounts[fmt.Sprintf("mount %d of %s (%s) on %s", mount.ID, mount.Source, mount.FSType, mount.Mountpoint)] = mount.Mountpoint
	}
	return result, err
}

// each calls visit for every directory that matches the pattern, with a function that reads an attribute of it. What
// disappears meanwhile reads as empty.
func each(pattern string, visit func(directory string, read func(attribute string) string)) error {
	directories, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	for _, directory := range directories {
		visit(directory, func(attribute string) string {
			content, _ := os.ReadFile(filepath.Join(directory, attribute))
			return strings.TrimSuffix(string(content), "\n")
		})
	}
	return nil
}

// without returns what is in l and not in before.
func (l leftovers) without(before leftovers) leftovers {
	return leftovers{
		devices: subtract(l.devices, before.devices),
		loops:   subtract(l.loops, before.loops),
		mounts:  subtract(l.mounts, before.mounts),
	}
}

func subtract(from, what map[string]string) map[string]string {
	result := maps.Clone(from)
	maps.DeleteFunc(result, func(key, _ string) bool { _, ok := what[key]; return ok })
	return result
}

// list returns the keys in order.
func (l leftovers) list() []string {
	return slices.Concat(slices.Sorted(maps.Keys(l.mounts)), slices.Sorted(maps.Keys(l.devices)), slices.Sorted(maps.Keys(l.loops)))
}
