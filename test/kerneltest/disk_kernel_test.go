//go:build kernel

package kerneltest

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDisk(t *testing.T) {
	CheckClean(t)
	const size = 8 << 20
	device := Disk(t, size, BlockSize(4096))
	checkZeroed(t, device, size)
	if other := Disk(t, size); other == device {
		t.Errorf("both disks are %s", device)
	}
	queue := filepath.Join("/sys/block", filepath.Base(device), "queue")
	for attribute, want := range map[string]string{"logical_block_size": "4096"} {
		if got := read(t, filepath.Join(queue, attribute)); got != want {
			t.Errorf("%s is %s, want %s", attribute, got, want)
		}
	}
	if got := read(t, filepath.Join(queue, "discard_max_bytes")); got == "0" {
		t.Error("no discards are passed down")
	}
}

func TestMachineDiskIsZeroedForTheNextTest(t *testing.T) {
	CheckClean(t)
	var device string
	const far = 1 << 30
	t.Run("writer", func(t *testing.T) {
		device = MachineDisk(t)
		disk, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer disk.Close()
		for _, offset := range []int64{0, far} {
			if _, err := disk.WriteAt(bytes.Repeat([]byte("x"), 1<<16), offset); err != nil {
				t.Fatal(err)
			}
		}
		if err := disk.Sync(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("reader", func(t *testing.T) {
		again := MachineDisk(t)
		if again != device {
			t.Fatalf("got %s after %s was given back", again, device)
		}
		if other := MachineDisk(t); other == again {
			t.Errorf("%s was given twice", other)
		}
		disk, err := os.Open(again)
		if err != nil {
			t.Fatal(err)
		}
		defer disk.Close()
		for _, offset := range []int64{0, far} {
			block := make([]byte, 1<<16)
			if _, err := disk.ReadAt(block, offset); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(block, make([]byte, len(block))) {
				t.Errorf("there is data at %d", offset)
			}
		}
	})
}

func checkZeroed(t *testing.T, device string, size int) {
	t.Helper()
	disk, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	content, err := io.ReadAll(disk)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content, make([]byte, size)) {
		t.Errorf("%s is not %d zeros", device, size)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

// What every kernel test relies on.
func TestGuestHasThinPools(t *testing.T) {
	CheckClean(t)
	output, err := exec.Command("dmsetup", "targets").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	for _, target := range []string{"thin-pool", "thin", "linear", "error", "flakey", "dust", "delay", "log-writes"} {
		if !regexp.MustCompile(`(?m)^` + target + ` +v\d`).Match(output) {
			t.Errorf("kernel has no target %s:\n%s", target, output)
		}
	}
	fileSystems := read(t, "/proc/filesystems")
	for _, fileSystem := range []string{"ext4", "xfs", "tmpfs"} {
		if !strings.Contains(fileSystems, "\t"+fileSystem+"\n") {
			t.Errorf("kernel has no file system %s", fileSystem)
		}
	}
	if err := unix.Access(os.TempDir(), unix.W_OK); err != nil {
		t.Errorf("%s cannot be written: %v", os.TempDir(), err)
	}
	if err := unix.Access("/usr", unix.W_OK); err == nil {
		t.Error("the host's root can be written")
	}
}
