//go:build kernel

package filesystem

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestTrim: what was deleted in a file system goes from the file below its loop device when it is trimmed, slice by slice, and not before;
// what is behind its end, and where nothing may be written, is told.
func TestTrim(t *testing.T) {
	for _, fsType := range Types {
		t.Run(string(fsType), func(t *testing.T) {
			kerneltest.CheckClean(t)
			const size, written = 512 << 20, 64 << 20
			file := backing(t, size)
			device := file.loop
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := Make(ctx, device, size, Format{Type: fsType}); err != nil {
				t.Fatal(err)
			}
			directory := t.TempDir()
			mountAt := func(options ...string) *os.File {
				t.Helper()
				parsed, err := ParseMountOptions(fsType, options)
				if err != nil {
					t.Fatal(err)
				}
				target, err := os.Open(directory)
				if err != nil {
					t.Fatal(err)
				}
				defer target.Close()
				if err := Mount(device, fsType, parsed, target); err != nil {
					t.Fatal(err)
				}
				root, err := os.Open(directory)
				if err != nil {
					t.Fatal(err)
				}
				return root
			}
			unmount := func(root *os.File) {
				t.Helper()
				if err := errors.Join(root.Close(), unix.Unmount(directory, 0)); err != nil {
					t.Fatal(err)
				}
			}
			fillAndDelete := func(root *os.File) int64 {
				t.Helper()
				content := make([]byte, written)
				_, _ = rand.Read(content)
				path := filepath.Join(directory, "file")
				if err := errors.Join(os.WriteFile(path, content, 0o600), unix.Syncfs(int(root.Fd()))); err != nil {
					t.Fatal(err)
				}
				full := allocated(t, file.File)
				if err := errors.Join(os.Remove(path), unix.Syncfs(int(root.Fd()))); err != nil {
					t.Fatal(err)
				}
				return full
			}

			root := mountAt()
			full := fillAndDelete(root)
			if kept := allocated(t, file.File); kept < full-written/2 {
				t.Errorf("%d of %d bytes were there after the deletion: this test shows nothing", kept, full)
			}
			// xfs gives a deleted file's blocks back in the background: a trim that comes before finds none.
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				for start := int64(0); start < size; start += 128 << 20 {
					if err := Trim(root, start, 128<<20); err != nil {
						t.Fatal(err)
					}
				}
				if allocated(t, file.File) <= full-written/2 || time.Now().After(deadline) {
					break
				}
			}
			if left := allocated(t, file.File); left > full-written/2 {
				t.Errorf("%d of %d bytes are there after a trim", left, full)
			}
			if err := Trim(root, size, 128<<20); !errors.Is(err, ErrTrimEnd) {
				t.Errorf("behind the end: %v", err)
			}
			unmount(root)

			root = mountAt("discard")
			full = fillAndDelete(root)
			// The file system discards when it has committed, which syncing has it do; xfs does so a moment later.
			deadline := time.Now().Add(20 * time.Second)
			for allocated(t, file.File) > full-written/2 && time.Now().Before(deadline) {
				if err := unix.Syncfs(int(root.Fd())); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Millisecond)
			}
			if left := allocated(t, file.File); left > full-written/2 {
				t.Errorf("mounted with discard: %d of %d bytes are there after a deletion", left, full)
			}
			unmount(root)

			root = mountAt("ro")
			if err := Trim(root, 0, size); !errors.Is(err, unix.EROFS) {
				t.Errorf("read-only: %v", err)
			}
			unmount(root)
		})
	}
}

// backingFile is a file with a loop device over it.
type backingFile struct {
	*os.File
	loop string
}

func backing(t *testing.T, size int64) backingFile {
	t.Helper()
	file, err := os.CreateTemp(kerneltest.Scratch(t), "trim-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(file.Name()); _ = file.Close() })
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return backingFile{file, loopOver(t, file.Name())}
}
