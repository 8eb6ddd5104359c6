//go:build kernel

package filesystem

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// loopOver makes a loop device of its own over a file.
func loopOver(t *testing.T, path string) string {
	t.Helper()
	output, err := exec.Command("losetup", "--find", "--show", "--", path).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup: %v: %s", err, output)
	}
	device := strings.TrimSpace(string(output))
	t.Cleanup(func() {
		if output, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("losetup: %v: %s", err, output)
		}
	})
	return device
}

// growing makes a file system on a part of a disk, by a loop device of its own over a file that can grow.
func growing(t *testing.T, format Format, size int64) (device string, grow func(size int64)) {
	t.Helper()
	file, err := os.CreateTemp(kerneltest.Scratch(t), "growing-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(file.Name()); _ = file.Close() })
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	device = loopOver(t, file.Name())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := Make(ctx, device, size, format); err != nil {
		t.Fatal(err)
	}
	return device, func(size int64) {
		t.Helper()
		if err := file.Truncate(size); err != nil {
			t.Fatal(err)
		}
		if output, err := exec.Command("losetup", "--set-capacity", device).CombinedOutput(); err != nil {
			t.Fatalf("losetup: %v: %s", err, output)
		}
	}
}

// TestGrow grows a mounted file system and one that is just being mounted, read-only too, and finds its files, its options
// and its new size, also after a check and with the same call again.
func TestGrow(t *testing.T) {
	const size = int64(512 << 20)
	for _, fsType := range Types {
		t.Run(string(fsType), func(t *testing.T) {
			kerneltest.CheckClean(t)
			device, enlarge := growing(t, Format{Type: fsType}, size)
			directory, target := openTarget(t)
			parent := openPlace(t, filepath.Dir(directory))
			mount := func(options MountOptions) {
				t.Helper()
				if err := Mount(device, fsType, options, target); err != nil {
					t.Fatal(err)
				}
			}
			unmount := func() {
				t.Helper()
				if err := Unmount(parent, filepath.Base(directory)); err != nil {
					t.Fatal(err)
				}
			}
			onRoot := func(do func(root *os.File)) {
				t.Helper()
				fd, err := unix.Open(directory, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				root := os.NewFile(uintptr(fd), directory)
				defer func() { _ = root.Close() }()
				do(root)
			}
			expectSize := func(device int64) {
				t.Helper()
				onRoot(func(root *os.File) {
					usage, err := ReadUsage(root)
					// What a file system keeps for itself does not grow faster than it does: a tenth at these sizes.
					if err != nil || usage.TotalBytes > device || usage.TotalBytes < device-device/10-64<<20 {
						t.Errorf("on a device of %d bytes: %+v, %v", device, usage, err)
					}
				})
			}
			options, err := ParseMountOptions(fsType, []string{"noatime", "lazytime"})
			if err != nil {
				t.Fatal(err)
			}
			mount(options)
			if err := os.WriteFile(filepath.Join(directory, "file"), []byte("content"), 0o600); err != nil {
				t.Fatal(err)
			}
			before := superOptions(t, directory)
			enlarge(3 * size)
			for range 2 {
				onRoot(func(root *os.File) {
					if err := Grow(root, device); err != nil {
						t.Fatal(err)
					}
				})
			}
			expectSize(3 * size)
			if after := superOptions(t, directory); !slices.Equal(before, after) {
				t.Errorf("the options were %v and are %v", before, after)
			}
			unmount()
			check(t, fsType, device)

			// While it is being mounted, read-only for whoever sees it.
			enlarge(5 * size)
			options, err = ParseMountOptions(fsType, []string{"ro", "lazytime"})
			if err != nil {
				t.Fatal(err)
			}
			mount(options.Growing())
			expectSize(5 * size)
			if err := os.WriteFile(filepath.Join(directory, "other"), nil, 0o600); !errors.Is(err, unix.EROFS) {
				t.Errorf("writing through a read-only mount: %v", err)
			}
			if content, err := os.ReadFile(filepath.Join(directory, "file")); string(content) != "content" {
				t.Errorf("%q, %v", content, err)
			}
			if after := superOptions(t, directory); !slices.Equal(before, after) {
				t.Errorf("the options were %v and are %v", before, after)
			}
			// A mount that cannot be written to, and that stays so.
			enlarge(6 * size)
			onRoot(func(root *os.File) {
				for range 2 {
					if err := Grow(root, device); err != nil {
						t.Error(err)
					}
				}
			})
			expectSize(6 * size)
			if err := os.WriteFile(filepath.Join(directory, "other"), nil, 0o600); !errors.Is(err, unix.EROFS) {
				t.Errorf("writing through a read-only mount after its growth: %v", err)
			}
			// A file system that cannot be written to.
			if err := unix.Mount("", directory, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
			before = superOptions(t, directory)
			onRoot(func(root *os.File) {
				if err := Grow(root, device); err != nil {
					t.Errorf("nothing to grow: %v", err)
				}
				enlarge(7 * size)
				if err := Grow(root, device); !errors.Is(err, ErrGrow) || !errors.Is(err, unix.EROFS) {
					t.Errorf("growing a read-only file system: %v", err)
				}
			})
			if after := superOptions(t, directory); !slices.Equal(before, after) {
				t.Errorf("a failed growth changed the options from %v to %v", before, after)
			}
			unmount()
			mount(MountOptions{}.Growing())
			expectSize(7 * size)
			unmount()
			check(t, fsType, device)
		})
	}
}

// TestGrowRefusals: another file system, and a device that is smaller than what it carries.
func TestGrowRefusals(t *testing.T) {
	kerneltest.CheckClean(t)
	device, resize := growing(t, Format{Type: Ext4}, 128<<20)
	place, err := os.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = place.Close() }()
	if err := Grow(place, device); !errors.Is(err, ErrGrow) || !errors.Is(err, ErrNoFileSystem) {
		t.Errorf("growing /proc: %v", err)
	}
	directory, target := openTarget(t)
	if err := Mount(device, Ext4, MountOptions{}, target); err != nil {
		t.Fatal(err)
	}
	resize(64 << 20)
	root := openPlace(t, directory)
	err = Grow(root, device)
	if !errors.Is(err, ErrGrow) || !strings.Contains(fmt.Sprint(err), "134217728") {
		t.Errorf("growing to less: %v", err)
	}
	_ = root.Close()
	resize(128 << 20)
	if err := Unmount(openPlace(t, filepath.Dir(directory)), filepath.Base(directory)); err != nil {
		t.Error(err)
	}
}

// superOptions are the options of the file system mounted on a directory, but for one that ext4 chooses by the size.
func superOptions(t *testing.T, directory string) []string {
	t.Helper()
	number, err := blockNumberOf(directory)
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := mountsOf(number)
	if err != nil || len(mounts) == 0 {
		t.Fatalf("%d mounts, %v", len(mounts), err)
	}
	return slices.DeleteFunc(strings.Split(mounts[0].VFSOptions, ","), func(o string) bool { return o == "mb_optimize_scan=0" })
}

func blockNumberOf(directory string) (uint64, error) {
	var status unix.Stat_t
	err := unix.Stat(directory, &status)
	return status.Dev, err
}

func check(t *testing.T, fsType Type, device string) {
	t.Helper()
	command := exec.Command("e2fsck", "-f", "-n", device)
	if fsType == XFS {
		command = exec.Command("xfs_repair", "-n", device)
	}
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", command, err, output)
	}
}
