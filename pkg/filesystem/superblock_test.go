package filesystem

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// made makes a file system on a sparse file with the real mkfs.
func made(t testing.TB, format Format, size int64) *os.File {
	t.Helper()
	if _, err := exec.LookPath("mkfs." + string(format.Type)); err != nil {
		t.Skipf("mkfs.%s is not installed (Debian's e2fsprogs and xfsprogs have it)", format.Type)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "device"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := Make(context.Background(), file.Name(), size, format); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestMakeAndReadSuperblock(t *testing.T) {
	for _, test := range []struct {
		format Format
		size   int64
		most   int64 // bytes that an empty file system may take
	}{
		{Format{Type: Ext4}, MinimumSize(Ext4), 1 << 20},
		{Format{Type: Ext4}, 1<<30 + 64<<10, 2 << 20},
		{Format{Type: Ext4}, 100 << 30, 9 << 20},
		{Format{Type: Ext4}, 12 << 40, 512 << 20},
		{Format{Type: Ext4, Options: []string{"-O", "^has_journal"}}, 1 << 30, 2 << 20},
		{Format{Type: Ext4, Options: []string{"-I", "512", "-J", "size=8", "-O", "project", "-i", "4096", "-m", "5"}}, 1 << 30, 2 << 20},
		{Format{Type: XFS}, MinimumSize(XFS), 66 << 20},
		{Format{Type: XFS}, 1<<30 + 64<<10, 66 << 20},
		{Format{Type: XFS}, 200 << 30, 102 << 20},
		{Format{Type: XFS}, 5 << 40, 130 << 20},
		{Format{Type: XFS, Options: []string{"-d", "agcount=8", "-i", "maxpct=5,size=1024", "-l", "size=128m", "-m", "bigtime=0,inobtcount=0,reflink=0,rmapbt=1", "-n", "size=8192"}}, 4 << 30, 132 << 20},
	} {
		file := made(t, test.format, test.size)
		s, err := ReadSuperblock(file)
		if err != nil || s.Type != test.format.Type || s.BlockSize != 4096 || s.UUID == [16]byte{} || s.Errors || s.NeedsRecovery {
			t.Errorf("%v of %d bytes: %+v, %v", test.format, test.size, s, err)
		}
		if s.Size > test.size || test.size-s.Size >= 16<<20 || test.size%(128<<20) == 0 && s.Size != test.size {
			t.Errorf("%v of %d bytes has %d", test.format, test.size, s.Size)
		}
		if taken := allocated(t, file); taken > test.most {
			t.Errorf("%v of %d bytes takes %d", test.format, test.size, taken)
		}
	}
}

func TestReadSuperblockOfNothing(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "device"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := ReadSuperblock(file); err == nil {
		t.Error("an empty file has a superblock")
	}
	if err := file.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSuperblock(file); !errors.Is(err, ErrNoFileSystem) {
		t.Errorf("zeros: %v", err)
	}
}

func FuzzParseSuperblock(f *testing.F) {
	for _, format := range []Format{{Type: Ext4}, {Type: XFS}} {
		area := make([]byte, superblockArea)
		if _, err := made(f, format, 1<<30).ReadAt(area, 0); err != nil {
			f.Fatal(err)
		}
		f.Add(area)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		area := make([]byte, superblockArea)
		copy(area, raw)
		s, err := parseSuperblock(area)
		if err != nil && !errors.Is(err, ErrNoFileSystem) {
			t.Errorf("untyped error %v", err)
		}
		if err == nil && (s.Size <= 0 || s.BlockSize < 512 || s.BlockSize > 64<<10) {
			t.Errorf("accepted %+v", s)
		}
	})
}
