package filesystem

import (
	"os"
	"syscall"
	"testing"
)

// allocated is how many bytes of a sparse file are there.
func allocated(t testing.TB, file *os.File) int64 {
	t.Helper()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}
