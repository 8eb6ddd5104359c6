package cluster

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCopySparse: content and size are the source's, and holes stay holes.
func TestCopySparse(t *testing.T) {
	const size = 64 << 20
	folder := t.TempDir()
	source, target := filepath.Join(folder, "source"), filepath.Join(folder, "target")
	if err := makeSparse(source, size); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(source, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for offset, text := range map[int64]string{0: "first", 20 << 20: "middle", size - 4: "last"} {
		if _, err := file.WriteAt([]byte(text), offset); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := copySparse(target, source); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the copy differs from its source")
	}
	var stat unix.Stat_t
	if err := unix.Stat(target, &stat); err != nil {
		t.Fatal(err)
	}
	if allocated := stat.Blocks * 512; allocated > 1<<20 {
		t.Errorf("the copy takes %d bytes of the disk, want a few KiB", allocated)
	}
}

func TestCopySparseOfHolesOnly(t *testing.T) {
	folder := t.TempDir()
	source, target := filepath.Join(folder, "source"), filepath.Join(folder, "target")
	if err := makeSparse(source, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := copySparse(target, source); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(target); err != nil || info.Size() != 1<<20 {
		t.Errorf("got %v, %v, want a file of 1 MiB", info, err)
	}
}
