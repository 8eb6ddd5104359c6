//go:build kernel

package filesystem

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// values are what each option that takes a value is tried with.
var values = map[string]string{
	"commit": "30", "stripe": "16", "min_batch_time": "1", "max_batch_time": "100", "max_dir_size_kb": "1024",
	"inode_readahead_blks": "64", "resuid": "0", "resgid": "0", "data": "ordered", "errors": "continue", "journal_ioprio": "3",
	"logbufs": "8", "logbsize": "64k", "allocsize": "1m",
}

// TestKernelKnowsEveryOption mounts with each option of the list by itself: what we allow, the kernel takes. Security
// labels are left out, they take a kernel with SELinux.
func TestKernelKnowsEveryOption(t *testing.T) {
	for _, fsType := range Types {
		t.Run(string(fsType), func(t *testing.T) {
			kerneltest.CheckClean(t)
			const size = 512 << 20
			device := kerneltest.Disk(t, size)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := Make(ctx, device, size, Format{Type: fsType}); err != nil {
				t.Fatal(err)
			}
			options := slices.Collect(maps.Keys(attributeOptions))
			for _, table := range []map[string]*regexp.Regexp{parameterOptions[fsType], commonOptions} {
				for key, pattern := range table {
					if pattern == label {
						continue
					}
					if pattern != nil {
						value, ok := values[key]
						if !ok {
							t.Fatalf("no value to try %s with", key)
						}
						key += "=" + value
					}
					options = append(options, key)
				}
			}
			for _, option := range options {
				if err := mountAndUnmount(t, device, fsType, option); err != nil {
					t.Errorf("%s: %v", option, err)
				}
			}
		})
	}
}

// TestMountReports: an error of the kernel comes with the words that it left in the mount's log.
func TestMountReports(t *testing.T) {
	kerneltest.CheckClean(t)
	const size = 512 << 20
	device := kerneltest.Disk(t, size)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := mountAndUnmount(t, device, XFS)
	var failed *MountError
	if !errors.As(err, &failed) || failed.Device != device || failed.Op != "mount xfs" {
		t.Errorf("a blank device: %v", err)
	}
	if err := Make(ctx, device, size, Format{Type: Ext4}); err != nil {
		t.Fatal(err)
	}
	directory, target := openTarget(t)
	err = Mount(device, Ext4, MountOptions{parameters: []mountParameter{{"no_such_option", ""}}}, target)
	if !errors.As(err, &failed) || !errors.Is(err, unix.EINVAL) || len(failed.Messages) == 0 {
		t.Errorf("an option that the kernel does not know: %#v", err)
	}
	if err := Unmount(openPlace(t, filepath.Dir(directory)), filepath.Base(directory)); err != nil {
		t.Errorf("unmount of what is not mounted: %v", err)
	}
}

// TestBindAndUnmount: attributes, the place below, and stacked mounts.
func TestBindAndUnmount(t *testing.T) {
	kerneltest.CheckClean(t)
	const size = 64 << 20
	device := kerneltest.Disk(t, size)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := Make(ctx, device, size, Format{Type: Ext4}); err != nil {
		t.Fatal(err)
	}
	source, target := openTarget(t)
	if err := Mount(device, Ext4, MountOptions{}, target); err != nil {
		t.Fatal(err)
	}
	mounted := openPlace(t, source)
	point, err := Inspect(mounted)
	if same, errDevice := point.IsDevice(device); err != nil || errDevice != nil || !point.Mounted || !same || point.ReadOnly {
		t.Errorf("inspect: %+v, %v, %v", point, err, errDevice)
	}
	place, bindTarget := openTarget(t)
	if err := Bind(mounted, bindTarget, true); err != nil {
		t.Fatal(err)
	}
	bound := openPlace(t, place)
	boundPoint, err := Inspect(bound)
	if err != nil || !boundPoint.ReadOnly || boundPoint.Major != point.Major || boundPoint.Minor != point.Minor || boundPoint.ID == point.ID {
		t.Errorf("inspect of the bind mount: %+v, %v", boundPoint, err)
	}
	if err := os.WriteFile(filepath.Join(place, "file"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("write through a read-only mount: %v", err)
	}
	if err := os.WriteFile(filepath.Join(source, "file"), nil, 0o600); err != nil {
		t.Errorf("write beside it: %v", err)
	}
	others, err := point.OtherMounts()
	if err != nil || len(others) != 1 || others[0] != place {
		t.Errorf("other mounts are %v, %v", others, err)
	}

	// Another one on top: both go. A mount whose directory is open is busy.
	if err := Bind(mounted, bound, false); err != nil {
		t.Fatal(err)
	}
	parent := openPlace(t, filepath.Dir(place))
	if err := Unmount(parent, filepath.Base(place)); !errors.Is(err, unix.EBUSY) {
		t.Errorf("unmount of a busy mount: %v", err)
	}
	_ = bound.Close()
	for range 2 {
		if err := Unmount(parent, filepath.Base(place)); err != nil {
			t.Error(err)
		}
	}
	_ = mounted.Close()
	if err := Unmount(openPlace(t, filepath.Dir(source)), filepath.Base(source)); err != nil {
		t.Error(err)
	}
}

func mountAndUnmount(t *testing.T, device string, fsType Type, options ...string) error {
	t.Helper()
	parsed, err := ParseMountOptions(fsType, options)
	if err != nil {
		return err
	}
	directory, target := openTarget(t)
	if err := Mount(device, fsType, parsed, target); err != nil {
		return err
	}
	return Unmount(openPlace(t, filepath.Dir(directory)), filepath.Base(directory))
}

// openTarget makes a directory and opens it as a place.
func openTarget(t *testing.T) (string, *os.File) {
	t.Helper()
	directory := filepath.Join(t.TempDir(), "mount")
	if err := os.Mkdir(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	return directory, openPlace(t, directory)
}

func openPlace(t *testing.T, path string) *os.File {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { _ = file.Close() })
	return file
}
