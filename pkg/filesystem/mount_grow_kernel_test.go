//go:build kernel

package filesystem

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestGrownXFSSurvivesAPowerCut mounts an xfs that grows, uses the new space, and mounts what a power cut would have left on
// the disk: the kernel must be able to replay the log.
func TestGrownXFSSurvivesAPowerCut(t *testing.T) {
	kerneltest.CheckClean(t)
	size := MinimumSize(XFS)
	device, grow := growing(t, Format{Type: XFS}, size)
	grow(size + 64<<20)
	options, err := ParseMountOptions(XFS, nil)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	mountAt := func(device string, options MountOptions) {
		t.Helper()
		target, err := os.OpenFile(root, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer target.Close()
		if err := Mount(device, XFS, options, target); err != nil {
			t.Fatal(err)
		}
	}
	mountAt(device, options.Growing())
	// Directories go to one allocation group after the other, the new one included.
	const directories = 16
	for i := range directories {
		path := filepath.Join(root, fmt.Sprint(i), "file")
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Sync(); err != nil {
			t.Fatal(err)
		}
		file.Close()
	}
	cut := kerneltest.Disk(t, size+64<<20)
	if output, err := exec.Command("dd", "if="+device, "of="+cut, "bs=1M", "iflag=direct", "oflag=direct", "status=none").CombinedOutput(); err != nil {
		t.Fatalf("dd: %v: %s", err, output)
	}
	if err := unix.Unmount(root, 0); err != nil {
		t.Fatal(err)
	}
	mountAt(cut, options)
	defer func() {
		if err := unix.Unmount(root, 0); err != nil {
			t.Error(err)
		}
	}()
	for i := range directories {
		if _, err := os.Stat(filepath.Join(root, fmt.Sprint(i), "file")); err != nil {
			t.Error(err)
		}
	}
}
